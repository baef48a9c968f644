package system

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

const maxRandomBytes = 128 << 10

func toolRoutes() []engines.Route {
	format := func(def string) engines.Field {
		return engines.Field{Name: "format", Type: engines.String, Default: def, Allowed: []string{"hex", "base64"}, Help: "\"hex\" or \"base64\"."}
	}
	hashFields := []engines.Field{
		{Name: "input", Type: engines.String, Required: true, Secret: true, Help: "What to digest, in base64."},
		{Name: "algorithm", Type: engines.String, Default: "sha2-256", Help: "Such as sha2-256 or sha3-512."},
		{Name: "urlalgorithm", Type: engines.String, Help: "The algorithm, in the path."}, format("hex"),
	}
	randomFields := []engines.Field{
		{Name: "bytes", Type: engines.Int, Default: int64(32), Help: "How many bytes."},
		{Name: "urlbytes", Type: engines.String, Help: "How many bytes, in the path."},
		{Name: "source", Type: engines.String, Default: "platform", Help: "\"platform\", \"seal\" or \"all\": all are the operating system's."}, format("base64"),
	}
	hashOps, randomOps := []engines.Op{compute(digest)}, []engines.Op{compute(random)}
	return []engines.Route{
		{Pattern: "tools/hash", Help: "Digest a value.", Fields: hashFields, Ops: hashOps},
		{Pattern: "tools/hash/{urlalgorithm}", Help: "Digest a value.", Fields: hashFields, Ops: hashOps},
		{Pattern: "tools/random", Help: "Return random bytes.", Fields: randomFields, Ops: randomOps},
		{Pattern: "tools/random/{urlbytes}", Help: "Return random bytes.", Fields: randomFields, Ops: randomOps},
		{Pattern: "tools/random/{source}/{urlbytes}", Help: "Return random bytes.", Fields: randomFields, Ops: randomOps},
		{Pattern: "decode-token", Help: "Uncover a generated root token with its one-time password.", Public: true, Fields: []engines.Field{
			{Name: "encoded_token", Type: engines.String, Required: true, Secret: true, Help: "The token as it was answered."},
			{Name: "otp", Type: engines.String, Required: true, Secret: true, Help: "The one-time password."},
		}, Ops: []engines.Op{compute(decodeToken)}},
	}
}

func algorithm(name string) hash.Hash {
	switch name {
	case "sha2-224":
		return sha256.New224()
	case "sha2-256":
		return sha256.New()
	case "sha2-384":
		return sha512.New384()
	case "sha2-512":
		return sha512.New()
	case "sha3-224":
		return sha3.New224()
	case "sha3-256":
		return sha3.New256()
	case "sha3-384":
		return sha3.New384()
	case "sha3-512":
		return sha3.New512()
	}
	return nil
}

func encodeAs(format string, raw []byte) string {
	if format == "hex" {
		return hex.EncodeToString(raw)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func digest(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	f := req.Fields
	name := f.String("urlalgorithm")
	if name == "" {
		name = f.String("algorithm")
	}
	h := algorithm(name)
	if h == nil {
		return nil, engines.Invalidf("unsupported algorithm: one of sha2-224, sha2-256, sha2-384, sha2-512, sha3-224, sha3-256, sha3-384, sha3-512")
	}
	input, err := base64.StdEncoding.DecodeString(f.String("input"))
	if err != nil {
		return nil, engines.Invalidf("unable to decode input as base64")
	}
	h.Write(input)
	return data(map[string]any{"sum": encodeAs(f.String("format"), h.Sum(nil))}), nil
}

func random(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	f := req.Fields
	n := f.Int("bytes")
	source := f.String("source")
	if text := f.String("urlbytes"); text != "" {
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil {
			if text != "platform" && text != "seal" && text != "all" {
				return nil, engines.Invalidf("the number of bytes is not a number")
			}
			n, source = f.Int("bytes"), text
		}
	}
	switch source {
	case "", "platform", "seal", "all":
	default:
		return nil, engines.Invalidf("unsupported entropy source: \"platform\", \"seal\" or \"all\"")
	}
	if n < 1 || n > maxRandomBytes {
		return nil, engines.Invalidf("the number of bytes must be between 1 and %d", maxRandomBytes)
	}
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return data(map[string]any{"random_bytes": encodeAs(f.String("format"), raw)}), nil
}

func decodeToken(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	token, err := seal.DecodeToken(req.Fields.String("encoded_token"), req.Fields.String("otp"))
	if err != nil {
		return nil, engines.Invalidf("the encoded token and the otp do not fit each other")
	}
	return data(map[string]any{"token": token}), nil
}

// fromBase64 undoes base64 where a text is that, as policies may be sent.
func fromBase64(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return string(raw)
}
