package certs

import (
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// serialBytes is how long serial numbers are: 159 random bits, as RFC 5280 allows
// 20 bytes of a positive number.
const serialBytes = 20

// NewSerial makes a serial number.
func NewSerial() *big.Int {
	var b [serialBytes]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// Serial writes a serial number as the API does: hex, colons between bytes.
func Serial(n *big.Int) string {
	digits := hex.EncodeToString(n.Bytes())
	if digits == "" {
		return "00"
	}
	out := make([]byte, 0, len(digits)*3/2)
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[i:i+2]...)
	}
	return string(out)
}

// ParseSerial reads one, with colons or dashes or nothing between bytes.
func ParseSerial(text string) (*big.Int, bool) {
	text = strings.NewReplacer(":", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(text)))
	if text == "" || len(text) > 128 {
		return nil, false
	}
	if len(text)%2 == 1 {
		text = "0" + text
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, false
	}
	return new(big.Int).SetBytes(b), true
}

func extension(id asn1.ObjectIdentifier, der []byte) pkix.Extension {
	return pkix.Extension{Id: id, Value: der}
}

var oidUserID = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}

// UserIDs adds user ids to a subject.
func UserIDs(subject *pkix.Name, ids []string) {
	for _, id := range ids {
		subject.ExtraNames = append(subject.ExtraNames, pkix.AttributeTypeAndValue{Type: oidUserID, Value: id})
	}
}

// UserIDsOf lists the user ids in a subject.
func UserIDsOf(subject *pkix.Name) []string {
	var ids []string
	for _, name := range subject.Names {
		if text, ok := name.Value.(string); ok && name.Type.Equal(oidUserID) {
			ids = append(ids, text)
		}
	}
	return ids
}

// Forever is the date that RFC 5280 has certificates end on that do not end.
var Forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// ParseTime reads a date of the API: RFC 3339, or without the time of day.
func ParseTime(field, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() >= 1950 && !at.After(Forever) {
			return at.UTC(), nil
		}
	}
	return time.Time{}, engines.Invalidf("%s: expected a time such as 2030-01-02T15:04:05Z", field)
}
