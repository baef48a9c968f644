package issued

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// mark is what stands beside a thing that was made for a lease. It holds for one
// name at one target of one mount, so copied to another thing it is worth nothing.
type mark struct {
	issued int64
	// lease is a digest of the lease's id, which nobody can guess.
	lease string
	proof string
}

const markBytes = 16

func leaseDigest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:markBytes])
}

func markOf(key []byte, r *row, name string) mark {
	m := mark{issued: r.Issued.Unix(), lease: leaseDigest(r.id)}
	m.proof = m.prove(key, r.Mount, r.Target, name)
	return m
}

func (m *mark) prove(key []byte, mount, target, name string) string {
	h := hmac.New(sha256.New, key)
	for _, part := range []string{mount, target, name, strconv.FormatInt(m.issued, 10), m.lease} {
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return hex.EncodeToString(h.Sum(nil)[:markBytes])
}

// String is the mark as it is written.
func (m mark) String() string {
	return engines.MarkPrefix + strconv.FormatInt(m.issued, 10) + ":" + m.lease + ":" + m.proof
}

// readMark reads a mark, and reports whether it is the mount's own.
func readMark(key []byte, mount, target string, f *engines.Found) (m mark, ok bool) {
	text, ok := strings.CutPrefix(f.Mark, engines.MarkPrefix)
	parts := strings.Split(text, ":")
	if !ok || len(parts) != 3 {
		return m, false
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return m, false
	}
	m = mark{issued: at, lease: parts[1], proof: parts[2]}
	return m, hmac.Equal([]byte(m.prove(key, mount, target, f.Name)), []byte(m.proof))
}

func (m *mark) at() time.Time { return time.Unix(m.issued, 0).UTC() }
