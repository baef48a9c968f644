package cli

import (
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coffer-secrets/coffer/client"
)

// options are the flags that every command with a server has.
type options struct {
	address, namespace, wrapTTL string
	tls                         client.TLS
	headers, mfa                []string
	outputCurl, outputPolicy    bool
	nonInteractive              bool
	format, field               string
}

func (o *options) flags() *pflag.FlagSet {
	set := pflag.NewFlagSet("http", pflag.ContinueOnError)
	set.StringVar(&o.format, "format", "", "How to print: table, json, yaml or raw. Also COFFER_FORMAT.")
	set.StringVar(&o.address, "address", "", "Address of the server: https://…, http://… or unix://… Also COFFER_ADDR.")
	set.StringVar(&o.namespace, "namespace", "", "Namespace to use. Also COFFER_NAMESPACE.")
	set.StringVar(&o.namespace, "ns", "", "The same as -namespace.")
	set.StringVar(&o.wrapTTL, "wrap-ttl", "", "Have the answer kept for a token of one use that lives so long. Also COFFER_WRAP_TTL.")
	set.StringVar(&o.tls.CACert, "ca-cert", "", "File of the authority that the server's certificate is from. Also COFFER_CACERT.")
	set.StringVar(&o.tls.CAPath, "ca-path", "", "Folder of such files. Also COFFER_CAPATH.")
	set.StringVar(&o.tls.ClientCert, "client-cert", "", "File of your own certificate. Also COFFER_CLIENT_CERT.")
	set.StringVar(&o.tls.ClientKey, "client-key", "", "File of your certificate's key. Also COFFER_CLIENT_KEY.")
	set.StringVar(&o.tls.ServerName, "tls-server-name", "", "Name that the server's certificate must have. Also COFFER_TLS_SERVER_NAME.")
	set.BoolVar(&o.tls.SkipVerify, "tls-skip-verify", false, "Trust any certificate: anyone on the way can read all. Also COFFER_SKIP_VERIFY.")
	set.StringArrayVar(&o.headers, "header", nil, "A header to add, as name=value. May be repeated.")
	set.StringArrayVar(&o.mfa, "mfa", nil, "METHOD:PASSCODE of a second factor to send along. May be repeated.")
	set.BoolVar(&o.outputCurl, "output-curl-string", false, "Print a curl command that would do the same, and do nothing.")
	set.BoolVar(&o.outputPolicy, "output-policy", false, "Print the policy that the command needs, and do nothing.")
	set.BoolVar(&o.nonInteractive, "non-interactive", false, "Never ask on the terminal.")
	set.VisitAll(func(f *pflag.Flag) {
		f.Annotations = map[string][]string{httpOnly: {"true"}}
		f.Hidden = f.Name == "ns"
	})
	return set
}

// check settles the format, which later code takes for granted.
func (o *options) check() error {
	if o.outputCurl && o.outputPolicy {
		return usagef("Give either -output-curl-string or -output-policy, not both.")
	}
	if o.format == "" {
		o.format, _ = client.Env("FORMAT")
	}
	switch o.format = strings.ToLower(o.format); o.format {
	case "", "pretty":
		o.format = formatTable
	case "yml":
		o.format = formatYAML
	case formatTable, formatJSON, formatYAML, formatRaw:
	default:
		return usagef("The format must be table, json, yaml or raw.")
	}
	return nil
}

// newClient makes a client of what flags, environment and token file say, in
// that order. A describing one sends nothing where the flags ask for that.
func (a *app) newClient(describing bool) (*client.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if describing && (a.opts.outputCurl || a.opts.outputPolicy) {
		d := &describer{policy: a.opts.outputPolicy, tls: cfg.TLS, address: cfg.Address}
		cfg.Middleware = func(http.RoundTripper) http.RoundTripper { return d }
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, &exit{code: exitUsage, err: err}
	}
	return c, nil
}

func (a *app) config() (client.Config, error) {
	cfg, err := client.FromEnvironment()
	if err != nil {
		return cfg, &exit{code: exitUsage, err: err}
	}
	o := &a.opts
	for _, pair := range []struct {
		to   *string
		flag string
	}{
		{&cfg.Address, o.address}, {&cfg.Namespace, o.namespace}, {&cfg.WrapTTL, o.wrapTTL},
		{&cfg.TLS.CACert, o.tls.CACert}, {&cfg.TLS.CAPath, o.tls.CAPath}, {&cfg.TLS.ClientCert, o.tls.ClientCert},
		{&cfg.TLS.ClientKey, o.tls.ClientKey}, {&cfg.TLS.ServerName, o.tls.ServerName},
	} {
		if pair.flag != "" {
			*pair.to = pair.flag
		}
	}
	cfg.TLS.SkipVerify = cfg.TLS.SkipVerify || o.tls.SkipVerify
	if cfg.Header, err = o.header(); err != nil {
		return cfg, err
	}
	if cfg.Token == "" {
		cfg.Token, err = keptToken()
	}
	return cfg, err
}

// header refuses names that this program sets itself.
func (o *options) header() (http.Header, error) {
	h := make(http.Header)
	for _, pair := range o.headers {
		name, value, ok := strings.Cut(pair, "=")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if !ok || name == "" {
			return nil, usagef("-header: expected name=value.")
		}
		if strings.HasPrefix(name, "X-Vault-") {
			return nil, usagef("-header: %s cannot be set this way.", name)
		}
		h.Add(name, value)
	}
	factors := o.mfa
	if value, _ := client.Env("MFA"); value != "" && len(factors) == 0 {
		factors = []string{value}
	}
	for _, factor := range factors {
		h.Add("X-Vault-MFA", factor)
	}
	return h, nil
}

func tokenFile() (client.TokenFile, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return client.TokenFile{}, errors.New("there is no home folder to keep the token in: set HOME")
	}
	return client.TokenFile{Dir: home}, nil
}

// keptToken is what login has kept. Without a home there is none.
func keptToken() (string, error) {
	file, err := tokenFile()
	if err != nil {
		return "", nil //nolint:nilerr // a service without a home has its token in the environment
	}
	token, err := file.Read()
	if err != nil {
		return "", &exit{code: exitUsage, err: err}
	}
	return token, nil
}
