package seal_test

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// unhex decodes hexadecimal in which spaces are ignored.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The reference itself is judged by the vectors of RFC 5297, appendix A.
func TestReferenceSIV(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, key, plaintext, want string
		ads                        []string
	}{
		{
			name:      "A.1",
			key:       "fffefdfc fbfaf9f8 f7f6f5f4 f3f2f1f0 f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff",
			ads:       []string{"10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627"},
			plaintext: "11223344 55667788 99aabbcc ddee",
			want:      "85632d07 c6e8f37f 950acd32 0a2ecc93 40c02b96 90c4dc04 daef7f6a fe5c",
		},
		{
			name: "A.2",
			key:  "7f7e7d7c 7b7a7978 77767574 73727170 40414243 44454647 48494a4b 4c4d4e4f",
			ads: []string{
				"00112233 44556677 8899aabb ccddeeff deaddada deaddada ffeeddcc bbaa9988 77665544 33221100",
				"10203040 50607080 90a0",
				"09f91102 9d74e35b d84156c5 635688c0",
			},
			plaintext: "74686973 20697320 736f6d65 20706c61 696e7465 78742074" +
				"6f20656e 63727970 74207573 696e6720 5349562d 414553",
			want: "7bdb6e3b 432667eb 06f4d14b ff2fbd0f cb900f2f ddbe4043 26601965 c889bf17" +
				"dba77ceb 094fa663 b7a3f748 ba8af829 ea64ad54 4a272e9c 485b62a3 fd5c0d",
		},
	}
	for _, test := range tests {
		var ads [][]byte
		for _, ad := range test.ads {
			ads = append(ads, unhex(t, ad))
		}
		got := refSIV(unhex(t, test.key), unhex(t, test.plaintext), ads...)
		if want := unhex(t, test.want); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", test.name, got, want)
		}
	}
}

// And its HKDF by test case 3 of RFC 5869, appendix A.
func TestReferenceHKDF(t *testing.T) {
	t.Parallel()
	got := refDerive(bytes.Repeat([]byte{0x0b}, 22), "", 42)
	want := unhex(t, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
