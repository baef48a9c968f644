package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// maxPEMBytes bounds a file of certificates.
const maxPEMBytes = 4 << 20

// certificates are what a listener shows and whom it believes. They can be read
// again while connections are open: what is open stays as it was.
type certificates struct {
	current atomic.Pointer[tls.Config]
}

func newCertificates(cfg config.TLS) (*certificates, error) {
	c := new(certificates)
	return c, c.load(cfg)
}

// load reads the files. If they cannot be used, what was loaded before stays.
func (c *certificates) load(cfg config.TLS) error {
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("read the listener's certificate: %w", err)
	}
	next := &tls.Config{
		MinVersion: versionOf(cfg.MinVersion), MaxVersion: versionOf(cfg.MaxVersion), CipherSuites: cfg.CipherSuites,
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
	}
	if !cfg.DisableClientCerts {
		// Certificates are asked for, and judged by whoever authenticates with
		// them; with a CA, only its own are let in.
		next.ClientAuth = tls.RequestClientCert
	}
	if cfg.ClientCAFile != "" {
		if next.ClientCAs, err = readPool(cfg.ClientCAFile); err != nil {
			return err
		}
		next.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if cfg.RequireClientCert {
		next.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.current.Store(next)
	return nil
}

// config is what the listener is given: it asks for the present files with each
// connection.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current.Load(), nil
		},
	}
}

func versionOf(name string) uint16 {
	if name == "tls13" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func readPool(file string) (*x509.CertPool, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read the listener's client CA: %w", err)
	}
	if info.Size() > maxPEMBytes {
		return nil, errors.New("read the listener's client CA: the file is too large")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the listener's client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the listener's client CA: %s holds no certificate", file)
	}
	return pool, nil
}
