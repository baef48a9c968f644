package server

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/coffer-secrets/coffer/cluster/wire"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/handover"
)

const pathRootKey = "/root-key"

// answerRootKey tells another member the root key, sealed for who has the keyring.
func (p *peers) answerRootKey(c *core.Core) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, handover.QuestionBytes))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer, err := c.RootKey(question)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(answer)
	}
}

// RootKey implements core.Peers.
func (p *peers) RootKey(ctx context.Context, node string, question []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.URL(node, pathRootKey), bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	resp, err := p.port.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, refused(resp)
	}
	return io.ReadAll(io.LimitReader(resp.Body, handover.MaxAnswer+1))
}
