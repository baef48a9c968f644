package pki

import (
	"context"
	"net/url"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// urls say where others find the issuer, its lists and its responder.
type urls struct {
	Issuing    []string `json:"issuing_certificates,omitempty"`
	CRL        []string `json:"crl_distribution_points,omitempty"`
	Delta      []string `json:"delta_crl_distribution_points,omitempty"`
	OCSP       []string `json:"ocsp_servers,omitempty"`
	Templating bool     `json:"enable_templating,omitempty"`
}

// clusterConfig are the addresses that templates of URLs are filled with.
type clusterConfig struct {
	Path string `json:"path"`
	AIA  string `json:"aia_path"`
}

const maxURLs = 16

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= 2048 && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "ldap") && u.Host != ""
}

// set takes over what was given.
func (u *urls) set(v engines.Values, whole bool, templating string) error {
	if whole || v.Has(templating) {
		u.Templating = v.Bool(templating)
	}
	for i, to := range []*[]string{&u.Issuing, &u.CRL, &u.Delta, &u.OCSP} {
		name := [...]string{"issuing_certificates", "crl_distribution_points", "delta_crl_distribution_points", "ocsp_servers"}[i]
		if whole || v.Has(name) {
			*to = v.Strings(name)
		}
		if len(*to) > maxURLs {
			return engines.Invalidf("%s: at most %d URLs", name, maxURLs)
		}
		for _, text := range *to {
			if strings.Contains(text, "{{") && u.Templating {
				continue // it is checked once it is filled
			}
			if !isURL(text) {
				return engines.Invalidf("%s: %q is not a URL", name, text)
			}
		}
	}
	return nil
}

func (u *urls) show(templating string) map[string]any {
	return map[string]any{
		"issuing_certificates": orEmpty(u.Issuing), "crl_distribution_points": orEmpty(u.CRL),
		"delta_crl_distribution_points": orEmpty(u.Delta), "ocsp_servers": orEmpty(u.OCSP), templating: u.Templating,
	}
}

func (u *urls) empty() bool { return len(u.Issuing)+len(u.CRL)+len(u.Delta)+len(u.OCSP) == 0 }

func orEmpty(list []string) []string { return append([]string{}, list...) }

// urlsFor are the URLs in certificates of an issuer: its own, or the mount's.
func urlsFor(tx engines.Tx, a *authority) (*urls, error) {
	u := &a.URLs
	if u.empty() {
		mount, err := load[urls](tx, urlsRow)
		if err != nil || mount == nil {
			return new(urls), err
		}
		u = mount
	}
	if !u.Templating {
		return u, nil
	}
	c, err := load[clusterConfig](tx, clusterRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		c = new(clusterConfig)
	}
	return u.fill(c, a.ID)
}

// fill fills the templates of URLs.
func (u *urls) fill(c *clusterConfig, issuerID string) (*urls, error) {
	replace := strings.NewReplacer("{{issuer_id}}", issuerID, "{{cluster_path}}", c.Path, "{{cluster_aia_path}}", c.AIA)
	out := new(urls)
	for _, pair := range [][2]*[]string{{&u.Issuing, &out.Issuing}, {&u.CRL, &out.CRL}, {&u.Delta, &out.Delta}, {&u.OCSP, &out.OCSP}} {
		for _, text := range *pair[0] {
			if text = replace.Replace(text); !isURL(text) {
				return nil, engines.Invalidf("a templated URL of the issuer comes to no URL: set path and aia_path of config/cluster")
			}
			*pair[1] = append(*pair[1], text)
		}
	}
	return out, nil
}

func readURLs(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	u, err := load[urls](tx, urlsRow)
	if err != nil {
		return nil, err
	}
	if u == nil {
		u = new(urls)
	}
	return &engines.Response{Data: u.show("enable_templating")}, nil
}

func writeURLs(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	u, err := load[urls](tx, urlsRow)
	if err != nil {
		return nil, err
	}
	if u == nil {
		u = new(urls)
	}
	if err := u.set(req.Fields, false, "enable_templating"); err != nil {
		return nil, err
	}
	return &engines.Response{Data: u.show("enable_templating")}, save(tx, urlsRow, u)
}

func readCluster(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := load[clusterConfig](tx, clusterRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		c = new(clusterConfig)
	}
	return &engines.Response{Data: c}, nil
}

func writeCluster(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := load[clusterConfig](tx, clusterRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		c = new(clusterConfig)
	}
	for name, to := range map[string]*string{"path": &c.Path, "aia_path": &c.AIA} {
		if !req.Fields.Has(name) {
			continue
		}
		if *to = req.Fields.String(name); *to != "" && !isURL(*to) {
			return nil, engines.Invalidf("%s: expected a URL", name)
		}
	}
	return &engines.Response{Data: c}, save(tx, clusterRow, c)
}

func readDefaultIssuer(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = new(defaultIssuer)
	}
	return &engines.Response{Data: d.show()}, nil
}

func (d *defaultIssuer) show() map[string]any {
	return map[string]any{"default": d.Default, "default_follows_latest_issuer": d.Follow}
}

// writeDefaultIssuer sets the default; root/replace gives the field its default.
func (e *engine) writeDefaultIssuer(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = new(defaultIssuer)
	}
	if ref := req.Fields.String("default"); ref != "" {
		a, err := e.authority(req, tx, ref)
		if err != nil {
			return nil, err
		}
		d.Default = a.ID
	} else if !req.Fields.Has("default_follows_latest_issuer") {
		return nil, engines.Invalidf("default is missing: it names an issuer")
	}
	if req.Fields.Has("default_follows_latest_issuer") {
		d.Follow = req.Fields.Bool("default_follows_latest_issuer")
	}
	return &engines.Response{Data: d.show()}, save(tx, issuersRow, d)
}
