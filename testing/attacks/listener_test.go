package attacks_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// process is a real server: one listener as it is by default, one without
// patience, and one with TLS, which speaks HTTP/2.
type process struct {
	*harness.Server
	t              testing.TB
	hasty, secured string
}

var listenerLines = regexp.MustCompile(`Listener [23]: tcp \(addr: "([^"]+)"`)

func run(t testing.TB) *process {
	t.Helper()
	dir := t.TempDir()
	certificate(t, dir)
	s := harness.Start(t, harness.Options{Extra: fmt.Sprintf(`
listener "tcp" {
  address = "127.0.0.1:0"
  tls_disable = true
  http_read_header_timeout = "1s"
  http_read_timeout = "2s"
  http_write_timeout = "2s"
}
listener "tcp" {
  address = "127.0.0.1:0"
  tls_cert_file = "%[1]s/cert"
  tls_key_file = "%[1]s/key"
}`, dir)})
	found := listenerLines.FindAllStringSubmatch(s.Banner, -1)
	if len(found) != 2 {
		t.Fatalf("the server told %s", s.Banner)
	}
	s.Root(http.MethodPut, "sys/mounts/kv", body{"type": "kv"})
	return &process{Server: s, t: t, hasty: found[0][1], secured: found[1][1]}
}

// certificate puts one for the loopback address into a folder.
func certificate(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// busy is how many other requests are under way on a path.
func (p *process) busy(path string) int {
	p.t.Helper()
	var list struct {
		Data map[string]struct {
			Path string `json:"request_path"`
		} `json:"data"`
	}
	status, answer := p.Do(http.MethodGet, "sys/in-flight-req", p.RootToken, nil)
	if err := json.Unmarshal(answer, &list); status != http.StatusOK || err != nil {
		p.t.Fatalf("answered %d %s", status, answer)
	}
	found := 0
	for _, r := range list.Data {
		if r.Path == "/v1/"+path {
			found++
		}
	}
	return found
}

// index is that of the state, which moves with every write.
func (p *process) index() string {
	p.t.Helper()
	var leader struct {
		Applied json.Number `json:"raft_applied_index"`
	}
	status, answer := p.Do(http.MethodGet, "sys/leader", p.RootToken, nil)
	if err := json.Unmarshal(answer, &leader); status != http.StatusOK || err != nil {
		p.t.Fatalf("answered %d %s", status, answer)
	}
	return leader.Applied.String()
}

func dial(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn.(*net.TCPConn)
}

// TestAttack23SlowPeers: who sends a request, or takes an answer, too slowly is
// let go of; others are served meanwhile.
func TestAttack23SlowPeers(t *testing.T) {
	t.Parallel()
	p := run(t)
	before := p.index()
	token := "X-Vault-Token: " + p.RootToken + "\r\n"
	var slow []*net.TCPConn
	for _, begun := range []string{
		"", "G", "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n", "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-A: ",
		"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\n" + token + "Content-Length: 20\r\n\r\n{",
		"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\n" + token + "Transfer-Encoding: chunked\r\n\r\n14\r\n{",
	} {
		for range 16 {
			conn := dial(t, p.hasty)
			if _, err := io.WriteString(conn, begun); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, conn)
		}
	}
	if status, answer := p.Do(http.MethodGet, "sys/health", "", nil); status != http.StatusOK {
		t.Errorf("others are answered %d %s", status, answer)
	}
	for i, conn := range slow {
		// What is sent in the end is an error, or nothing.
		answer, err := io.ReadAll(conn)
		if err, ok := err.(net.Error); ok && err.Timeout() {
			t.Fatalf("connection %d is still open", i)
		}
		if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
			t.Errorf("connection %d is answered %.80q", i, answer)
		}
	}
	if after := p.index(); after != before {
		t.Errorf("the index went from %s to %s", before, after)
	}
}

func TestAttack23SlowRead(t *testing.T) {
	t.Parallel()
	p := run(t)
	p.Root(http.MethodPut, "kv/big", body{"v": strings.Repeat("x", 512<<10)})
	conn := dial(t, p.hasty)
	if err := conn.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	const asked = 128
	// The server may let go before it has all of it.
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("GET /v1/kv/big HTTP/1.1\r\nHost: x\r\nX-Vault-Token: "+p.RootToken+"\r\n\r\n", asked))
	}()
	eventually(t, "an answer is not taken", func() bool { return p.busy("kv/big") == 1 })
	eventually(t, "the server lets go", func() bool { return p.busy("kv/big") == 0 })
	in, got := bufio.NewReader(conn), 0
	for ; got < asked; got++ {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			break
		}
	}
	if got == asked {
		t.Error("all was answered to a peer that does not read")
	}
}

// The frames of HTTP/2 (RFC 9113, section 6) that are needed here.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway, frameContinuation = 0, 1, 3, 4, 7, 9

	flagEndStream, flagEndHeaders, flagAck = 0x1, 0x4, 0x1
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	out := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(out, stream), payload...)
}

// literal is a header field without indexing, with a new name (RFC 7541,
// section 6.2.2); index is one that goes to the dynamic table (6.2.1).
func literal(name, value string) []byte { return field(0x00, name, value) }
func indexed(name, value string) []byte { return field(0x40, name, value) }

func field(first byte, name, value string) []byte {
	out := append(append([]byte{first}, length(len(name))...), name...)
	return append(append(out, length(len(value))...), value...)
}

// length is an integer with a prefix of seven bits (RFC 7541, section 5.1).
func length(n int) []byte {
	if n < 127 {
		return []byte{byte(n)}
	}
	out := []byte{127}
	for n -= 127; n >= 128; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// get begins a request's headers.
func get(path string) []byte {
	return bytes.Join([][]byte{{0x82, 0x87}, literal(":path", path), literal(":authority", "coffer")}, nil)
}

// second opens a connection that speaks HTTP/2.
func (p *process) second() *tls.Conn {
	p.t.Helper()
	cfg := &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true} // #nosec G402 -- the test's own certificate
	conn := tls.Client(dial(p.t, p.secured), cfg)
	if err := conn.HandshakeContext(p.t.Context()); err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
		p.t.Fatalf("no HTTP/2: %v", err)
	}
	if _, err := conn.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(frameSettings, 0, 0, nil)...)); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// answered reads frames until a stream is answered or the server ends the
// connection, and returns the kind of frame and its payload; GOAWAY if the
// connection just ended.
func answered(conn *tls.Conn, stream uint32) (kind byte, payload []byte) {
	in := bufio.NewReader(conn)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return frameGoAway, nil
		}
		payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(in, payload); err != nil {
			return frameGoAway, nil
		}
		on := binary.BigEndian.Uint32(head[5:]) &^ (1 << 31)
		if head[3] == frameGoAway || on == stream && (head[3] == frameHeaders || head[3] == frameReset) {
			return head[3], payload
		}
	}
}

// TestAttack24RapidReset: requests that are taken back at once do not pile up
// (CVE-2023-44487).
func TestAttack24RapidReset(t *testing.T) {
	t.Parallel()
	p := run(t)
	before := p.index()
	conn := p.second()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	// They wait for an index that does not come, or they would be done at once.
	block := append(get("/v1/sys/mounts"), literal("x-coffer-index", "999999999")...)
	most := 0
	const batches, batch = 40, 500
	for i := range batches {
		var out []byte
		for j := range batch {
			stream := uint32(2*(i*batch+j) + 1) // #nosec G115 -- small
			out = append(out, frame(frameHeaders, flagEndStream|flagEndHeaders, stream, block)...)
			out = append(out, frame(frameReset, 0, stream, []byte{0, 0, 0, 8})...)
		}
		if _, err := conn.Write(out); err != nil {
			break // the server has had enough
		}
		most = max(most, p.busy("sys/mounts"))
	}
	const streams = 250 // that a connection may have open, as net/http has it
	if most > streams {
		t.Errorf("%d requests were under way", most)
	}
	eventually(t, "all requests end", func() bool { return p.busy("sys/mounts") == 0 })
	_ = conn.Close()
	<-ended
	if after := p.index(); after != before {
		t.Errorf("the index went from %s to %s", before, after)
	}
}

// TestAttack24Headers: headers beyond the limit are refused before they take
// memory, however small they were on the wire.
func TestAttack24Headers(t *testing.T) {
	t.Parallel()
	p := run(t)
	const accepted = 0x88 // the static table's ":status: 200"
	kind, payload := func() (byte, []byte) {
		conn := p.second()
		_, _ = conn.Write(frame(frameHeaders, flagEndStream|flagEndHeaders, 1, get("/v1/sys/seal-status")))
		return answered(conn, 1)
	}()
	if kind != frameHeaders || len(payload) == 0 || payload[0] != accepted {
		t.Fatalf("a good request is answered by frame %d, %x", kind, payload)
	}
	// One entry of the dynamic table, named by one byte as often as fits.
	bomb := append(get("/v1/sys/seal-status"), indexed("x-a", strings.Repeat("a", 4000))...)
	bomb = append(bomb, bytes.Repeat([]byte{0x80 | 62}, 12<<10)...)
	var huge, flood [][]byte
	huge = append(huge, frame(frameHeaders, flagEndStream, 1, get("/v1/sys/seal-status")))
	flood = append(flood, huge[0])
	for i := range 256 {
		huge = append(huge, frame(frameContinuation, 0, 1, literal(fmt.Sprint("x-", i), strings.Repeat("a", 8<<10))))
	}
	huge = append(huge, frame(frameContinuation, flagEndHeaders, 1, nil))
	for range 50_000 { // empty ones, without an end
		flood = append(flood, frame(frameContinuation, 0, 1, nil))
	}
	for what, frames := range map[string][][]byte{
		"a bomb":                {frame(frameHeaders, flagEndStream|flagEndHeaders, 1, bomb[:min(len(bomb), 16<<10)])},
		"huge headers":          huge,
		"a frame that is huge":  {frame(frameHeaders, flagEndStream|flagEndHeaders, 1, make([]byte, 1<<20))},
		"a string without end":  {frame(frameHeaders, flagEndStream|flagEndHeaders, 1, []byte{0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})},
		"an index out of range": {frame(frameHeaders, flagEndStream|flagEndHeaders, 1, append(get("/v1/sys/seal-status"), 0xff, 0xff, 0xff, 0x7f))},
		"frames without end":    append(flood, frame(frameContinuation, flagEndHeaders, 1, bytes.Repeat([]byte{0xbe}, 100))),
		"no settings":           {frame(frameData, 0, 1, nil)},
		"settings' wrong size":  {frame(frameSettings, 0, 0, []byte{1})},
		"settings acked twice":  {frame(frameSettings, flagAck, 0, []byte{1})},
	} {
		conn := p.second()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = conn.Write(bytes.Join(frames, nil)) // it may be cut off
		}()
		if kind, payload := answered(conn, 1); kind == frameHeaders && len(payload) > 0 && payload[0] == accepted {
			t.Errorf("%s is accepted", what)
		}
		_ = conn.Close()
		<-sent
	}
	if status, answer := p.Do(http.MethodGet, "sys/health", "", nil); status != http.StatusOK {
		t.Errorf("others are answered %d %s", status, answer)
	}
}
