package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"

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
