package rig_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/coffer-secrets/coffer/testing/chaos/rig"
)

// answers is where somebody answers whoever comes, over TLS if they are to know a
// certificate.
func answers(t *testing.T, known *tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if known != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*known}, NextProtos: rig.Protocols(), MinVersion: tls.VersionTLS13})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 16)
			_, _ = conn.Read(buf)
			_, _ = conn.Write([]byte("welcome"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// TestIntrude finds who answers strangers.
func TestIntrude(t *testing.T) {
	t.Parallel()
	own, err := rig.ForeignCertificate("node-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		known    *tls.Certificate
		stranger rig.Stranger
		answered bool
	}{
		"in the clear":               {nil, rig.Stranger{Says: []byte("hello")}, true},
		"over TLS":                   {own, rig.Stranger{Certificate: own, Protocol: "h2", Says: []byte("hello")}, true},
		"over TLS, as nobody":        {own, rig.Stranger{Protocol: "coffer-raft/1", Says: []byte("hello")}, true},
		"in the clear, where TLS is": {own, rig.Stranger{Says: []byte("hello, hello, hello")}, false},
		"TLS, where there is none":   {nil, rig.Stranger{Protocol: "h2", Says: []byte("hello")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig.Rig{Peers: []string{answers(t, c.known)}}
			if err := r.Intrude(t.Context(), 0, c.stranger); (err != nil) != c.answered {
				t.Errorf("%v", err)
			}
		})
	}
}
