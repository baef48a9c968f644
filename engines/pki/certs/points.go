package certs

import (
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-secrets/coffer/engines"
)

var oidFreshest = asn1.ObjectIdentifier{2, 5, 29, 46}

// FreshestCRL tells a certificate where delta lists are.
func FreshestCRL(c *x509.Certificate, urls []string) error {
	if len(urls) == 0 {
		return nil
	}
	var b cryptobyte.Builder
	constructed := cbasn1.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, u := range urls {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(constructed, func(b *cryptobyte.Builder) {
					b.AddASN1(constructed, func(b *cryptobyte.Builder) {
						b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(u)) })
					})
				})
			})
		}
	})
	der, err := b.Bytes()
	if err != nil {
		return engines.Internal(err)
	}
	c.ExtraExtensions = append(c.ExtraExtensions, extension(oidFreshest, der))
	return nil
}
