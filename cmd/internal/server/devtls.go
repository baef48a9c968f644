package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// devLifetime is how long the certificates of a dev server are good.
const devLifetime = 30 * 24 * time.Hour

// devCertificates writes a CA, and a certificate for the address that it vouches
// for. The CA's own key is thrown away.
func devCertificates(dir, address string) (cfg config.TLS, caFile string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return config.TLS{}, "", fmt.Errorf("-dev-tls-cert-dir: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return config.TLS{}, "", fmt.Errorf("-dev-listen-address: %w", err)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return config.TLS{}, "", err
	}
	ca := devTemplate("Coffer dev CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return config.TLS{}, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return config.TLS{}, "", err
	}
	leaf := devTemplate("Coffer dev server")
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = append(leaf.IPAddresses, ip)
	} else if host != "" {
		leaf.DNSNames = append(leaf.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return config.TLS{}, "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return config.TLS{}, "", err
	}
	caFile = filepath.Join(dir, "coffer-ca.pem")
	cfg = config.TLS{
		MinVersion: "tls12", MaxVersion: "tls13",
		CertFile: filepath.Join(dir, "coffer-cert.pem"), KeyFile: filepath.Join(dir, "coffer-key.pem"),
	}
	return cfg, caFile, errors.Join(
		writePEM(caFile, "CERTIFICATE", caDER, 0o644), writePEM(cfg.CertFile, "CERTIFICATE", der, 0o644),
		writePEM(cfg.KeyFile, "PRIVATE KEY", keyDER, 0o600))
}

func devTemplate(name string) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial)
	serial[0] &= 0x7f
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(devLifetime),
	}
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	return publish(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
