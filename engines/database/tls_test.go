package database_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/mariadbserver"
	"github.com/coffer-secrets/coffer/testing/pgserver"
)

// authority signs certificates of a test.
type authority struct {
	t         *testing.T
	key       *ecdsa.PrivateKey
	cert      *x509.Certificate
	pem, kept string // the certificate and its key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.pem, a.kept = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign signs a certificate, an authority's own with the key that it is given.
func (a *authority) sign(of *x509.Certificate) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	of.SerialNumber, of.NotBefore, of.NotAfter, of.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute), time.Now().Add(time.Hour), true
	by, with := a.cert, a.key
	if by == nil {
		by, with = of, private
	}
	der, err := x509.CreateCertificate(rand.Reader, of, by, private.Public(), with)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.key = private
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

// server is a certificate for 127.0.0.1.
func (a *authority) server() (cert, key string) {
	return a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (a *authority) client(name string) (cert, key string) {
	return a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// shows is how a client connects to a server of the authority, with a certificate
// if there is one.
func (a *authority) shows(cert, key string) *tls.Config {
	a.t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	c.RootCAs.AddCert(a.cert)
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// takes reports whether a connection is taken with changes.
func takes(t *testing.T, s *kit.Server, of body, changes body) bool {
	t.Helper()
	tried := maps.Clone(of)
	maps.Copy(tried, changes)
	r := s.Do(kit.Request{Method: http.MethodPut, Path: "database/config/tried", Body: tried})
	if r.Status != http.StatusNoContent && r.Status != http.StatusBadRequest || strings.Contains(string(r.Raw), "PRIVATE KEY") {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	return r.Status == http.StatusNoContent
}

// certified makes a user by a role whose users log in with certificates.
func certified(s *kit.Server, a *authority, connection, creation string) (lease, name string, shown *tls.Config) {
	s.Put("database/roles/app-cert", body{
		"db_name": connection, "credential_type": "client_certificate", "creation_statements": creation,
		"credential_config": body{"ca_cert": a.pem, "ca_private_key": a.kept, "key_type": "ec"},
	})
	r := s.Get("database/creds/app-cert")
	return r.Text("lease_id"), r.Text("data", "username"), a.shows(r.Text("data", "client_certificate"), r.Text("data", "private_key"))
}

// TestPostgresOverTLS connects with and without certificates, and makes users who
// have nothing else to log in with.
func TestPostgresOverTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	cert, key := a.server()
	own, err := pgserver.StartTLS(pgserver.TLS{Certificate: []byte(cert), Key: []byte(key), ClientCA: []byte(a.pem)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	s := kit.New(t)
	s.Mount("database", "database", nil)
	at := func(host, mode string) string {
		return fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/postgres?sslmode=%s", host, own.Port(), mode)
	}
	whole := connection(body{"connection_url": at("127.0.0.1", "verify-full"), "tls_ca": a.pem})
	s.Put("database/config/tls", whole)
	for name, changes := range map[string]body{
		"another authority":      {"tls_ca": other.pem},
		"no authority of its":    {"tls_ca": ""},
		"another name":           {"connection_url": at("localhost", "verify-full")},
		"certificates, no TLS":   {"connection_url": at("127.0.0.1", "disable")},
		"a key without its pair": {"private_key": key, "tls_certificate": other.pem},
	} {
		if takes(t, s, whole, changes) {
			t.Errorf("it is taken: %s", name)
		}
	}
	s.Put("database/roles/app-first", body{"db_name": "tls", "creation_statements": `CREATE ROLE ` + pgserver.CertificateRole + `; CREATE ROLE ` + pgserver.CertifiedUser + ` SUPERUSER LOGIN PASSWORD 'p'; ` + creation})
	s.Get("database/creds/app-first")
	cert, key = a.client("coffer")
	strange, strangeKey := other.client("coffer")
	as := body{"username": pgserver.CertifiedUser, "password": "p"}
	if takes(t, s, whole, as) {
		t.Error("it is taken without the certificate that the server wants")
	}
	as["tls_certificate"], as["private_key"] = strange, strangeKey
	if takes(t, s, whole, as) {
		t.Error("it is taken with a certificate that the server does not trust")
	}
	as["tls_certificate"], as["private_key"] = cert, key
	if !takes(t, s, whole, as) {
		t.Error("it is not taken with the certificate")
	}
	lease, name, shown := certified(s, a, "tried", `CREATE ROLE "{{name}}" LOGIN IN ROLE `+pgserver.CertificateRole)
	in := func(c *tls.Config) bool {
		config, err := pgx.ParseConfig(strings.NewReplacer("{{username}}", name, "{{password}}", "").Replace(at("127.0.0.1", "verify-full")))
		if err != nil {
			t.Fatal(err)
		}
		config.TLSConfig = c
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err == nil
	}
	if !in(shown) || in(a.shows("", "")) || in(a.shows(cert, key)) || in(a.shows(other.client(name))) {
		t.Error("not exactly who has the certificate logs in")
	}
	s.Put("sys/leases/revoke", body{"lease_id": lease, "sync": true})
	if in(shown) {
		t.Error("a revoked certificate logs in")
	}
}

// TestMySQLOverTLS is TestPostgresOverTLS for MariaDB.
func TestMySQLOverTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	cert, key := a.server()
	own, err := mariadbserver.StartTLS(mariadbserver.TLS{Certificate: []byte(cert), Key: []byte(key), ClientCA: []byte(a.pem)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	s := kit.New(t)
	s.Mount("database", "database", nil)
	whole := connectionMySQL(own)
	whole["tls_ca"] = a.pem
	s.Put("database/config/tls", whole)
	for name, changes := range map[string]body{
		"another authority":   {"tls_ca": other.pem},
		"another name":        {"tls_server_name": "example.com"},
		"no authority of its": {"tls_ca": "", "tls_server_name": "127.0.0.1"},
		"a key alone":         {"tls_certificate_key": key},
	} {
		if takes(t, s, whole, changes) {
			t.Errorf("it is taken: %s", name)
		}
	}
	if !takes(t, s, whole, body{"tls_ca": "", "tls_skip_verify": true}) {
		t.Error("it is not taken with any certificate, as was said")
	}
	s.Put("database/roles/app-first", body{"db_name": "tls", "creation_statements": `CREATE USER certified@'%' IDENTIFIED BY 'p' REQUIRE X509; GRANT ALL ON *.* TO certified@'%' WITH GRANT OPTION; ` + creationMySQL})
	s.Get("database/creds/app-first")
	cert, key = a.client("coffer")
	as := body{"username": "certified", "password": "p"}
	if takes(t, s, whole, as) {
		t.Error("it is taken without the certificate that the server wants")
	}
	if as["tls_certificate_key"] = cert + key; !takes(t, s, whole, as) {
		t.Error("it is not taken with the certificate")
	}
	lease, name, shown := certified(s, a, "tried", `CREATE USER '{{name}}'@'%' REQUIRE SUBJECT '/CN={{name}}'`)
	in := func(c *tls.Config) bool {
		config := mysql.NewConfig()
		config.User, config.Net, config.Addr, config.TLS = name, "tcp", own.Address(), c
		connector, err := mysql.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		defer func() { _ = db.Close() }()
		return db.PingContext(t.Context()) == nil
	}
	if !in(shown) || in(nil) || in(a.shows("", "")) || in(a.shows(cert, key)) || in(a.shows(other.client(name))) {
		t.Error("not exactly who has the certificate logs in")
	}
	s.Put("sys/leases/revoke", body{"lease_id": lease, "sync": true})
	if in(shown) {
		t.Error("a revoked certificate logs in")
	}
}

// TestWithoutPasswords refuses roles whose users would get an empty password, or
// none that the database knows of.
func TestWithoutPasswords(t *testing.T) {
	t.Parallel()
	s := started(t)
	owner(t, "static-keyed")
	a := newAuthority(t)
	certificate := body{"ca_cert": a.pem, "ca_private_key": a.kept}
	s.Put("database/config/re", body{"plugin_name": "redis-database-plugin", "host": "127.0.0.1", "port": 1, "username": "u", "password": "p", "verify_connection": false, "allowed_roles": "app*"})
	for name, b := range map[string]body{
		"a key, with a password":         {"db_name": "orders-db", "credential_type": "rsa_private_key", "creation_statements": creation},
		"a key that is not told":         {"db_name": "orders-db", "credential_type": "rsa_private_key", "creation_statements": `CREATE ROLE "{{name}}"`},
		"a certificate, with a password": {"db_name": "orders-db", "credential_type": "client_certificate", "credential_config": certificate, "creation_statements": `CREATE ROLE "{{name}}" PASSWORD '{{ password }}'`},
		"a key of Redis":                 {"db_name": "re", "credential_type": "rsa_private_key", "creation_statements": `["+@read", "~{{public_key}}"]`},
		"a certificate of Redis":         {"db_name": "re", "credential_type": "client_certificate", "credential_config": certificate, "creation_statements": `["+@read"]`},
	} {
		if r := s.Do(kit.Request{Method: http.MethodPut, Path: "database/roles/app-none", Body: b}); r.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
	// The connection comes after the role.
	s.Put("database/roles/app-late", body{"db_name": "late", "credential_type": "rsa_private_key", "creation_statements": creation})
	s.Put("database/config/late", connection(nil))
	s.Must(http.StatusBadRequest, kit.Request{Path: "database/creds/app-late"})
	keyed := static("static-keyed", body{"credential_type": "rsa_private_key"})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "database/static-roles/app-keyed", Body: keyed})
	keyed["rotation_statements"] = `COMMENT ON ROLE "{{name}}" IS '{{public_key}}'`
	s.Put("database/static-roles/app-keyed", keyed)
	if r := s.Get("database/static-creds/app-keyed"); !strings.Contains(r.Text("data", "rsa_private_key"), "PRIVATE KEY") || r.At("data", "password") != nil {
		t.Error("there is no key, or a password")
	}
}
