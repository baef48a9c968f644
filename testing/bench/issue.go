package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/crypto/bcrypt"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// benchPassword is that of a user who may do nothing on a server that is
// measured.
const benchPassword = "a-password-to-measure-with" // #nosec G101 -- see above

// pkiIssue has a certificate and its key made under a root of this run.
func pkiIssue(a *admin, _ int) (script, error) {
	path := a.target.mount + "pki"
	if a.mountSecret(path, `{"type":"pki","config":{"max_lease_ttl":"8760h"}}`); a.err != nil {
		return nil, fmt.Errorf("%w: %w", errAbsent, a.err)
	}
	a.post(path+"/root/generate/internal", `{"common_name":"bench","key_type":"ec","key_bits":256,"ttl":"8760h"}`)
	a.post(path+"/roles/bench", `{"allow_any_name":true,"key_type":"ec","key_bits":256,"max_ttl":"72h"}`)
	issue := load.Message(http.MethodPost, "/v1/"+path+"/issue/bench", a.target.token, `{"common_name":"app.example.com","ttl":"1h"}`)
	return requests(func(int, int) []byte { return issue }), a.err
}

// benchRole is what sessions are asked for.
const benchRole = "arn:aws:iam::" + awsfake.Account + ":role/bench"

// awsSession has sessions of a role made at a stand-in for AWS in this process.
func awsSession(a *admin, _ int) (script, error) {
	path := a.target.mount + "aws"
	if a.mountSecret(path, `{"type":"aws"}`); a.err != nil {
		return nil, fmt.Errorf("%w: %w", errAbsent, a.err)
	}
	fake := standIn(a.ctx)
	id, secret := fake.Key(awsfake.RootUser)
	root, err := json.Marshal(map[string]string{
		"access_key": id, "secret_key": secret, "region": "us-east-1", "iam_endpoint": fake.URL, "sts_endpoint": fake.URL,
	})
	if err != nil {
		return nil, err
	}
	a.post(path+"/config/root", string(root))
	a.post(path+"/roles/bench", `{"credential_type":"assumed_role","role_arns":["`+benchRole+`"]}`)
	issue := load.Message(http.MethodPost, "/v1/"+path+"/sts/bench", a.target.token, `{"ttl":"15m"}`)
	return requests(func(int, int) []byte { return issue }), a.err
}

// standIn starts a stand-in that ends with ctx.
func standIn(ctx context.Context) *awsfake.Fake {
	fake := awsfake.New()
	fake.AddRole(benchRole, awsfake.Role{})
	context.AfterFunc(ctx, fake.Close)
	return fake
}

// bare does something without a server, as a floor.
type bare func(n int) error

// Do implements load.Worker.
func (b bare) Do(n int) error { return b(n) }

// Close implements load.Worker.
func (bare) Close() {}

// times is as many workers that do the same.
func (b bare) times(n int) []load.Worker {
	list := make([]load.Worker, n)
	for i := range list {
		list[i] = b
	}
	return list
}

// bareBcrypt checks a password.
func bareBcrypt() (bare, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(benchPassword), bcrypt.DefaultCost)
	return func(int) error { return bcrypt.CompareHashAndPassword(hash, []byte(benchPassword)) }, err
}

// bareIssue makes a key and a certificate for it.
func bareIssue() (bare, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1},
	}
	return func(n int) error {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(n) + 2), Subject: pkix.Name{CommonName: "app.example.com"}, DNSNames: []string{"app.example.com"},
			NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if _, err := x509.CreateCertificate(rand.Reader, leaf, ca, own.Public(), key); err != nil {
			return err
		}
		_, err = x509.MarshalPKCS8PrivateKey(own)
		return err
	}, nil
}

// bareAWS asks the stand-in for sessions itself.
func bareAWS(ctx context.Context) bare {
	fake := standIn(ctx)
	id, secret := fake.Key(awsfake.RootUser)
	api := sts.New(sts.Options{
		Region: "us-east-1", BaseEndpoint: &fake.URL, Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
	})
	return func(int) error {
		_, err := api.AssumeRole(ctx, &sts.AssumeRoleInput{
			RoleArn: aws.String(benchRole), RoleSessionName: aws.String("bench"), DurationSeconds: aws.Int32(900),
		})
		return err
	}
}
