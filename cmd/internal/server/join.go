package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/cluster/wire"
	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	pathAdmit   = "/admit"
	pathRestore = "/restore"
	pathRenew   = "/renew"

	joinCallTimeout = 30 * time.Second
	maxJoinAnswer   = 4 << 20
	maxJoinProof    = 256 << 10
	maxRefusal      = 64 << 10
	joinRound       = 2 * time.Second
)

// joiner takes part in the ceremony for a node that is part of nothing yet.
type joiner struct{ peers *peers }

var _ core.Joiner = joiner{}

// Invite implements core.Joiner.
func (j joiner) Invite(ctx context.Context, at core.Contact, node string) (*joining.Invitation, error) {
	out := new(joining.Invitation)
	return out, callContact(ctx, at, "challenge", map[string]string{"server_id": node}, out)
}

// Answer implements core.Joiner.
func (j joiner) Answer(ctx context.Context, at core.Contact, proof []byte) ([]byte, error) {
	var out struct {
		Answer []byte `json:"answer"`
	}
	err := callContact(ctx, at, "answer", map[string]string{"answer": base64.StdEncoding.EncodeToString(proof)}, &out)
	return out.Answer, err
}

// Key implements core.Joiner.
func (j joiner) Key() ([]byte, error) {
	key, err := wire.KeptKey(j.peers.dir)
	if err != nil {
		return nil, err
	}
	return key.Public()
}

// Adopt implements core.Joiner.
func (j joiner) Adopt(a *joining.Admission) error {
	key, err := wire.KeptKey(j.peers.dir)
	if err != nil {
		return err
	}
	j.peers.learn(a.Members)
	return j.peers.adopt(key, a.Certificate, a.Root)
}

// callContact calls one of the two paths of the ceremony on a node's API.
func callContact(ctx context.Context, at core.Contact, step string, body, into any) error {
	client, err := contactClient(at)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	target := strings.TrimRight(at.APIAddr, "/") + "/v1/sys/storage/raft/bootstrap/" + step
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Request", "true")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxJoinAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(answer, into)
	}
	var refusal struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(answer, &refusal) != nil || len(refusal.Errors) == 0 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	kind := engines.KindInvalid
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		kind = engines.KindUnavailable
	}
	return engines.Errorf(kind, "the node to join through refused: %s", strings.TrimSpace(refusal.Errors[0]))
}

// contactClient trusts whom the contact says. It follows no redirect: what is
// sent is for that node.
func contactClient(at core.Contact) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: at.ServerName}
	if at.CACert != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(at.CACert)) {
			return nil, engines.Invalidf("leader_ca_cert holds no certificate in PEM")
		}
	}
	if at.ClientCert != "" {
		pair, err := tls.X509KeyPair([]byte(at.ClientCert), []byte(at.ClientKey))
		if err != nil {
			return nil, engines.Invalidf("leader_client_cert and leader_client_key are not a certificate and its key in PEM")
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Timeout:       joinCallTimeout,
		Transport:     &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// keepJoining tries the configured nodes until the node has joined.
func (s *Server) keepJoining(ctx context.Context) {
	ticker := time.NewTicker(joinRound)
	defer ticker.Stop()
	for {
		for i := range s.cfg.Storage.RetryJoin {
			if done, err := s.core.Initialized(); err == nil && done {
				if s.wrapper != nil {
					s.core.KeepUnsealing(ctx) // what was being received may be there by now
				}
				return
			}
			req, err := joinRequest(&s.cfg.Storage.RetryJoin[i], s.cfg.Storage.NonVoter)
			if err == nil {
				err = s.core.Join(ctx, req)
			}
			if err != nil && ctx.Err() == nil {
				s.log.Warn("joining failed and will be tried again", "through", s.cfg.Storage.RetryJoin[i].LeaderAPIAddr, "error", err, "cause", errors.Unwrap(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// joinRequest reads the files that a stanza names now: they may be renewed.
func joinRequest(j *config.RetryJoin, nonVoter bool) (core.JoinRequest, error) {
	out := core.JoinRequest{NonVoter: nonVoter, Contact: core.Contact{
		APIAddr: j.LeaderAPIAddr, ServerName: j.ServerName, CACert: j.CACert, ClientCert: j.ClientCert, ClientKey: j.ClientKey,
	}}
	for path, to := range map[string]*string{j.CACertFile: &out.CACert, j.ClientCertFile: &out.ClientCert, j.ClientKeyFile: &out.ClientKey} {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path) // #nosec G304 -- named by the configuration
		if err != nil {
			return out, err
		}
		*to = string(text)
	}
	return out, nil
}

// refusal is an error on its way to another node.
type refusal struct {
	Kind    engines.Kind `json:"kind"`
	Message string       `json:"message"`
}

// answerAdmit admits a node that joins through a follower.
func (p *peers) answerAdmit(c *core.Core) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		proof, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJoinProof))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		admission, err := c.AdmitHere(r.Context(), proof)
		if err == nil {
			_, _ = w.Write(admission)
			return
		}
		p.log.Warn("a node was not admitted", "through", wire.PeerOf(r.Context()), "error", err)
		refuse(w, err, "the leader could not admit the node")
	}
}

// refuse sends an error to another node, its cause left out.
func refuse(w http.ResponseWriter, err error, otherwise string) {
	out := refusal{Kind: engines.KindOf(err), Message: otherwise}
	var e *engines.Error
	if errors.As(err, &e) {
		out.Message = e.Message
	}
	w.WriteHeader(http.StatusConflict)
	_ = json.NewEncoder(w).Encode(out)
}

// answerRestore restores a snapshot that was sent to a follower, which has seen
// to it that the sender may.
func (p *peers) answerRestore(c *core.Core) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := c.RestoreHere(r.Context(), r.Body, r.URL.Query().Has("force"))
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		p.log.Warn("a snapshot was not restored", "through", wire.PeerOf(r.Context()), "error", err, "cause", errors.Unwrap(err))
		refuse(w, err, "the leader could not restore the snapshot")
	}
}

// Restore implements core.Peers.
func (p *peers) Restore(ctx context.Context, leader string, r io.Reader, force bool) error {
	target := wire.URL(leader, pathRestore)
	if force {
		target += "?force"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, r)
	if err != nil {
		return err
	}
	resp, err := p.port.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	return refused(resp)
}

// refused reads why another node refused.
func refused(resp *http.Response) error {
	var out refusal
	if resp.StatusCode != http.StatusConflict || json.NewDecoder(io.LimitReader(resp.Body, maxRefusal)).Decode(&out) != nil {
		return fmt.Errorf("the leader answered %s", resp.Status)
	}
	return engines.Errorf(out.Kind, "%s", out.Message)
}

// Admit implements core.Peers.
func (p *peers) Admit(ctx context.Context, leader string, proof []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.URL(leader, pathAdmit), bytes.NewReader(proof))
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
	return io.ReadAll(io.LimitReader(resp.Body, maxJoinAnswer))
}
