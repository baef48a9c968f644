package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// admin prepares a server for a measurement. After an error it does nothing.
type admin struct {
	ctx    context.Context //nolint:containedctx // lives for some lines
	target *target
	err    error
}

// post writes, and returns the answer's data.
func (a *admin) post(path, body string) map[string]any { return a.do(http.MethodPost, path, body) }

func (a *admin) get(path string) map[string]any { return a.do(http.MethodGet, path, "") }

// do returns the data of the answer, or who logs in by it.
func (a *admin) do(method, path, body string) map[string]any {
	if a.err != nil {
		return nil
	}
	var answer struct {
		Data map[string]any `json:"data"`
		Auth map[string]any `json:"auth"`
	}
	a.err = func() error {
		req, err := http.NewRequestWithContext(a.ctx, method, a.target.url()+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Vault-Token", a.target.token)
		resp, err := a.target.client().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusOK && len(text) == 0:
			return nil
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
		}
		return json.Unmarshal(text, &answer)
	}()
	if answer.Auth != nil {
		return answer.Auth
	}
	return answer.Data
}

func (t *target) url() string {
	if t.tls != nil {
		return "https://" + t.addr
	}
	return "http://" + t.addr
}

func (t *target) client() *http.Client {
	if t.tls == nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t.tls, DisableKeepAlives: true}}
}
