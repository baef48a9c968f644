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
	ctx  context.Context //nolint:containedctx // lives for some lines
	addr string
	err  error
}

// post writes, and returns the answer's data.
func (a *admin) post(path, body string) map[string]any { return a.do(http.MethodPost, path, body) }

func (a *admin) do(method, path, body string) map[string]any {
	if a.err != nil {
		return nil
	}
	var answer struct {
		Data map[string]any `json:"data"`
	}
	a.err = func() error {
		req, err := http.NewRequestWithContext(a.ctx, method, "http://"+a.addr+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Vault-Token", rootToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusNoContent:
			return nil
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
		}
		return json.Unmarshal(text, &answer)
	}()
	return answer.Data
}
