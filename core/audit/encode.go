package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// hashPrefix begins every hash in a record.
const hashPrefix = "hmac-sha256:"

// hasher makes HMACs under a device's key. It is safe for concurrent use.
type hasher struct{ pool sync.Pool }

// mac is one HMAC under way, with room for what goes in and comes out.
type mac struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// keptText bounds the room that is kept.
const keptText = 4096

func newHasher(key []byte) *hasher {
	return &hasher{pool: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }}}
}

func (h *hasher) appendHash(dst []byte, text []byte) []byte {
	m := h.pool.Get().(*mac) //nolint:forcetypeassert // the pool holds nothing else
	dst = m.append(dst, text)
	h.pool.Put(m)
	return dst
}

func (h *hasher) appendHashOf(dst []byte, text string) []byte {
	m := h.pool.Get().(*mac) //nolint:forcetypeassert // the pool holds nothing else
	m.text = append(m.text[:0], text...)
	dst = m.append(dst, m.text)
	clear(m.text)
	if cap(m.text) > keptText {
		m.text = nil
	}
	h.pool.Put(m)
	return dst
}

func (m *mac) append(dst []byte, text []byte) []byte {
	m.Reset()
	m.Write(text)
	return hex.AppendEncode(append(dst, hashPrefix...), m.Sum(m.sum[:0]))
}

func (h *hasher) hash(text string) string { return string(h.appendHashOf(nil, text)) }

// encoder writes one record for one device.
type encoder struct {
	dst  []byte
	form form
	mac  *hasher
	// limit is where data that is being written has to end.
	limit int
	// hashed are the last texts that were hashed, and where in dst: a token and
	// its accessor stand twice in a record.
	hashed [2]hashed
	next   int
}

type hashed struct {
	text     string
	from, to int
}

func (e *encoder) hash(text string) string { return e.mac.hash(text) }

// plain writes a text as it is, as a JSON string of printable characters.
func (e *encoder) plain(text string) { e.dst = appendString(e.dst, text) }

// secret writes the hash of a text; nothing stays nothing.
func (e *encoder) secret(text string) {
	if e.form.raw || text == "" {
		e.plain(text)
		return
	}
	for i := range e.hashed {
		if h := &e.hashed[i]; h.text == text {
			e.dst = append(e.dst, e.dst[h.from:h.to]...)
			return
		}
	}
	from := len(e.dst)
	e.dst = append(e.mac.appendHashOf(append(e.dst, '"'), text), '"')
	e.hashed[e.next] = hashed{text, from, len(e.dst)}
	e.next = (e.next + 1) % len(e.hashed)
}

// label writes what an operator or a way to log in calls somebody: plain,
// unless it looks like a token.
func (e *encoder) label(text string) {
	if tokenLike(text) {
		e.secret(text)
		return
	}
	e.plain(text)
}

func (e *encoder) accessor(text string) {
	if e.form.plainAccessor {
		e.plain(text)
		return
	}
	e.secret(text)
}

// key begins a member of an object that has been begun.
func (e *encoder) key(name string) {
	e.comma()
	e.plain(name)
	e.dst = append(e.dst, ':')
}

// comma separates what follows from what stands before it.
func (e *encoder) comma() {
	if last := e.dst[len(e.dst)-1]; last != '{' && last != '[' {
		e.dst = append(e.dst, ',')
	}
}

func (e *encoder) begin(c byte) { e.dst = append(e.dst, c) }
func (e *encoder) end(c byte)   { e.dst = append(e.dst, c) }

// The members that follow are left out if they hold nothing.

func (e *encoder) textMember(name, text string) {
	if text != "" {
		e.key(name)
		e.plain(text)
	}
}

func (e *encoder) secretMember(name, text string) {
	if text != "" {
		e.key(name)
		e.secret(text)
	}
}

func (e *encoder) accessorMember(name, text string) {
	if text != "" {
		e.key(name)
		e.accessor(text)
	}
}

func (e *encoder) number(name string, n int64) {
	if n != 0 {
		e.key(name)
		e.dst = strconv.AppendInt(e.dst, n, 10)
	}
}

func (e *encoder) truth(name string, b bool) {
	e.key(name)
	e.dst = strconv.AppendBool(e.dst, b)
}

func (e *encoder) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	e.key(name)
	e.begin('[')
	for _, text := range list {
		e.comma()
		e.plain(text)
	}
	e.end(']')
}

// maxName bounds the names of fields that stand plain.
const maxName = 64

// name is the name of a field as it may stand plain. Names are not secrets, but
// callers make them up, and mistakes put secrets there.
func (e *encoder) name(text string) string {
	if e.form.raw || harmless(text) {
		return text
	}
	return e.hash(text)
}

func harmless(name string) bool {
	if len(name) > maxName || tokenLike(name) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_-./ :@", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// tokenLike reports whether a text looks like a token, of Coffer's or Vault's.
func tokenLike(text string) bool {
	for _, prefix := range []string{"cfs.", "cfb.", "cfr.", "hvs.", "hvb.", "hvr.", "s.", "b.", "r."} {
		if rest, ok := strings.CutPrefix(text, prefix); ok && len(rest) >= 20 {
			return true
		}
	}
	return false
}

// path writes a canonical path, without the parts that are secrets.
func (e *encoder) path(path string, captured []string) {
	if e.form.raw {
		e.plain(path)
		return
	}
	for segment := range strings.SplitSeq(path, "/") {
		if tokenLike(segment) {
			path = strings.ReplaceAll(path, segment, e.hash(segment))
		}
	}
	for _, secret := range captured {
		if secret != "" {
			path = strings.ReplaceAll(path, secret, e.hash(secret))
		}
	}
	e.plain(path)
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string of which a terminal shows every character:
// what controls one, turns the direction of text, or is no UTF-8 is escaped.
func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
			if (r != utf8.RuneError || size > 1) && unicode.IsPrint(r) {
				i += size
				continue
			}
		}
		dst = append(dst, text[start:i]...)
		dst = appendEscape(dst, r)
		i += size
		start = i
	}
	return append(append(dst, text[start:]...), '"')
}

func appendEscape(dst []byte, r rune) []byte {
	if r == '"' || r == '\\' {
		return append(dst, '\\', byte(r))
	}
	if r > 0xffff { // a surrogate pair
		r -= 0x10000
		return appendEscape(appendEscape(dst, 0xd800|r>>10), 0xdc00|r&0x3ff)
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
}
