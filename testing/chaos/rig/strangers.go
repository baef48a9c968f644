package rig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// strangerWithin bounds how long a stranger waits for an answer.
const strangerWithin = time.Second

// Stranger is who comes to the port of the cluster and is no member of it.
type Stranger struct {
	// Certificate is one that the cluster's authority has not made; nil: none.
	Certificate *tls.Certificate
	// Protocol is what the connection is said to be for; "": it is not even TLS.
	Protocol string
	// Says is what is sent.
	Says []byte
}

// Protocols are those of the port, as ALPN names them.
func Protocols() []string { return []string{"coffer-raft/1", "coffer-gossip/1", "h2"} }

// ForeignCertificate is one that an authority of its own has made for a node.
func ForeignCertificate(node string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: node}, DNSNames: []string{node},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Intrude has a stranger speak to a node. The error says that the node answered
// one who has not shown that it is a member.
func (r *Rig) Intrude(ctx context.Context, i int, s Stranger) error {
	ctx, cancel := context.WithTimeout(ctx, strangerWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Peers[i])
	if err != nil {
		return nil // nobody is there
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(strangerWithin))
	if s.Protocol != "" {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{s.Protocol}, MinVersion: tls.VersionTLS13} // #nosec G402 -- a stranger takes anybody
		if s.Certificate != nil {
			config.Certificates = []tls.Certificate{*s.Certificate}
		}
		conn = tls.Client(conn, config)
	}
	if _, err := conn.Write(s.Says); err != nil {
		return nil // it was not taken
	}
	answer := make([]byte, 64)
	n, _ := conn.Read(answer)
	if s.Protocol == "" && n > 0 && answer[0] == tlsAlert {
		return nil
	}
	if n > 0 {
		return fmt.Errorf("rig: node %d answers a stranger %q", i, answer[:n])
	}
	return nil
}

// tlsAlert begins what TLS answers who does not speak it (RFC 8446, section 5.1).
const tlsAlert = 21
