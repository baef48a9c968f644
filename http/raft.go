package httpapi

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
)

const maxJoinAddress = 2048

// raftRoutes adds what a node answers that is part of nothing yet.
func (s *server) raftRoutes(list map[string]map[string]handlerFunc) {
	put := http.MethodPut
	list["sys/storage/raft/bootstrap/challenge"] = map[string]handlerFunc{put: s.joinChallenge}
	list["sys/storage/raft/bootstrap/answer"] = map[string]handlerFunc{put: s.joinAnswer}
	list["sys/storage/raft/join"] = map[string]handlerFunc{put: s.join}
	list[pathSnapshot] = map[string]handlerFunc{http.MethodGet: s.guarded(s.saveSnapshot), put: s.restoreSnapshot(false)}
	list[pathForce] = map[string]handlerFunc{put: s.restoreSnapshot(true)}
}

func (s *server) joinChallenge(_ context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	invitation, err := s.Core.Invite(v.String("server_id"))
	if err != nil {
		return nil, err
	}
	return ok(invitation)
}

func (s *server) joinAnswer(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	proof, err := base64.StdEncoding.DecodeString(v.String("answer"))
	if err != nil || len(proof) == 0 {
		return nil, engines.Invalidf("answer: expected base64")
	}
	admission, err := s.Core.Admit(ctx, proof)
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"answer": admission})
}

func (s *server) join(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	if v.String("auto_join") != "" {
		return nil, engines.Invalidf("auto_join is not supported: name a node of the cluster with leader_api_addr")
	}
	req := core.JoinRequest{
		Contact: core.Contact{
			APIAddr: v.String("leader_api_addr"), ServerName: v.String("leader_tls_servername"), CACert: v.String("leader_ca_cert"),
			ClientCert: v.String("leader_client_cert"), ClientKey: v.String("leader_client_key"),
		},
		Retry: v.Bool("retry"), NonVoter: v.Bool("non_voter"),
	}
	if u, err := url.Parse(req.APIAddr); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(req.APIAddr) > maxJoinAddress {
		return nil, engines.Invalidf("leader_api_addr: expected the address of a node, such as https://host:8200")
	}
	if (req.ClientCert == "") != (req.ClientKey == "") {
		return nil, engines.Invalidf("leader_client_cert and leader_client_key go together")
	}
	if err := s.Core.Join(ctx, req); err != nil {
		return nil, err
	}
	return ok(map[string]bool{"joined": true})
}

const (
	pathSnapshot = "sys/storage/raft/snapshot"
	pathForce    = "sys/storage/raft/snapshot-force"

	// streamPause is how long a client that sends or takes a snapshot may do
	// nothing; how long all of it takes depends on its size.
	streamPause = 30 * time.Second
	// maxUpload bounds what is kept on the disk before it is known to be a
	// snapshot.
	maxUpload = 1 << 40
)

// streamed reports whether a request's body is read while it is worked on.
func streamed(r *http.Request) bool {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return false
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	return path == pathSnapshot || path == pathForce
}

// saveSnapshot streams the state. A snapshot that is cut off lacks its end,
// which clients look for.
func (s *server) saveSnapshot(_ context.Context, r *request) (*response, error) {
	if s.Core.Unsealed() == nil {
		return nil, core.ErrSealed()
	}
	return &response{contentType: "application/gzip", stream: func(_ context.Context, w http.ResponseWriter) {
		out := slowWriter{w: w, control: http.NewResponseController(w)}
		if err := s.Core.Snapshot(r.Context(), out); err != nil { //nolint:contextcheck // it may take longer than a request
			s.Logger.Error("a snapshot was cut off", "request_id", r.id, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// restoreSnapshot takes a snapshot. Only a node that is part of nothing takes it
// from anybody, as it does sys/init.
func (s *server) restoreSnapshot(force bool) handlerFunc {
	return func(ctx context.Context, r *request) (*response, error) {
		done, err := s.Core.Initialized()
		if err != nil {
			return nil, err
		}
		if done {
			if err := s.authorised(ctx, r); err != nil {
				return nil, err
			}
		}
		body := http.MaxBytesReader(r.out, r.Body, maxUpload)
		in := slowReader{r: body, control: http.NewResponseController(r.out)}
		if err := s.Core.Restore(r.Context(), in, force); err != nil { //nolint:contextcheck // it may take longer than a request
			return nil, err
		}
		return &response{}, nil
	}
}

// slowWriter gives every write its own time.
type slowWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s slowWriter) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(streamPause)) // not every writer has one
	return s.w.Write(p)
}

// slowReader gives every read its own time.
type slowReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (s slowReader) Read(p []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(streamPause))
	n, err := s.r.Read(p)
	if err != nil { // what follows the body is for the server's own limits
		_ = s.control.SetReadDeadline(time.Time{})
		_ = s.control.SetWriteDeadline(time.Now().Add(streamPause))
	}
	return n, err
}
