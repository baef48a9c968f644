package httpapi

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
)

// HandPath is where a node takes requests that others hand on.
const HandPath = "/hand"

const (
	// fateHeader tells the node that hands on, and nobody else, what became of a
	// request.
	fateHeader = "Coffer-Fate"
	fateNot    = "not-executed"
	fateMaybe  = "unknown"
	// maxHandedHead bounds what is told of a request beside its body.
	maxHandedHead = 4 << 20
	// maxHandedAnswer bounds an answer: one that was committed is far smaller.
	maxHandedAnswer = 64 << 20
	// lookAfter is how long a leader may take before it is looked whether it is
	// still the one.
	lookAfter = 250 * time.Millisecond
)

// handed is a request as one node hands it on to another, in front of its body.
// It is never part of the request itself, so no client can say any of it.
type handed struct {
	Method    string      `json:"method"`
	Target    string      `json:"target"`
	Header    http.Header `json:"header"`
	RequestID string      `json:"request_id"`
	// ID and Tried are those of core.Place.
	ID    []byte `json:"id"`
	Tried bool   `json:"tried,omitempty"`
	// Addr and Port are the client's, as are the certificates in DER.
	Addr  netip.Addr `json:"addr"`
	Port  uint16     `json:"port,omitempty"`
	Certs [][]byte   `json:"certs,omitempty"`
	// Wait is how long there is for the answer. A duration: clocks differ.
	Wait time.Duration `json:"wait"`

	certificates []*x509.Certificate
}

// frame puts the request before its body.
func (h *handed) frame(body []byte) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(head) > maxHandedHead {
		return nil, errors.New("http: the request's head is too large")
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(head)+len(body)), uint32(len(head))) // #nosec G115 -- bounded
	return append(append(out, head...), body...), nil
}

// unframe reads a request and its body, of at most limit bytes.
func unframe(in io.Reader, limit int64) (*handed, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHandedHead {
		return nil, nil, errors.New("http: the request's head is too large")
	}
	head, err := io.ReadAll(io.LimitReader(in, int64(n)))
	if err != nil {
		return nil, nil, err
	}
	h := new(handed)
	if err := json.Unmarshal(head, h); err != nil {
		return nil, nil, err
	}
	for _, der := range h.Certs {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, err
		}
		h.certificates = append(h.certificates, cert)
	}
	body, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errors.New("http: the request's body is too large")
	}
	return h, body, err
}

// fate is what became of a request that was handed on.
type fate uint8

const (
	// answered: there is an answer.
	answered fate = iota
	// unexecuted: it was not executed, nor will be.
	unexecuted
	// broken: nobody knows.
	broken
)

// hand hands a request on to a node. One that may be repeated is given up when
// another node leads.
func (s *server) hand(ctx context.Context, node string, r *request, in *core.Inbound, repeatable bool) (*response, fate) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline, _ := ctx.Deadline()
	h := &handed{
		Method: r.Method, Target: r.URL.RequestURI(), Header: r.Header, RequestID: r.id, ID: in.Place.ID, Tried: in.Place.Tried,
		Addr: in.Addr, Port: in.Port, Wait: time.Until(deadline),
	}
	for _, cert := range in.PeerCertificates {
		h.Certs = append(h.Certs, cert.Raw)
	}
	frame, err := h.frame(r.body)
	if err != nil {
		return failure(engines.KindTooLarge, "the request's headers are too large to be forwarded"), answered
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, HandPath, bytes.NewReader(frame))
	if err != nil {
		return nil, unexecuted
	}
	if repeatable {
		defer s.look(ctx, node, cancel)()
	}
	got, err := s.Peers.Do(node, req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, unexecuted
		}
		return nil, broken
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxHandedAnswer+1))
	switch {
	case err != nil || got.Header.Get(fateHeader) == fateMaybe:
		return nil, broken
	case got.Header.Get(fateHeader) == fateNot:
		return nil, unexecuted
	case len(body) > maxHandedAnswer:
		return failure(engines.KindUpstream, "the answer is larger than what is forwarded: ask the leader"), answered
	}
	return handedBack(got, body), answered
}

// look gives an attempt up when another node than the one that was asked leads.
// It returns what ends that.
func (s *server) look(ctx context.Context, node string, giveUp context.CancelFunc) (stop func()) {
	known, cancel := context.WithCancel(ctx)
	cancel() // nothing is waited for
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(lookAfter, func() {
		<-ready
		if now, _, err := s.Peers.Leader(known); err == nil && now != node {
			giveUp()
			return
		}
		timer.Reset(lookAfter)
	})
	close(ready)
	return func() { timer.Stop() }
}

func failure(kind engines.Kind, message string) *response {
	text, err := json.Marshal(map[string]any{"errors": []string{message}})
	if err != nil {
		text = nil
	}
	return &response{headers: map[string]string{}, raw: &engines.Raw{Status: statusOf(kind), ContentType: typeJSON, Body: text}}
}

// handedBack is the leader's answer as it came.
func handedBack(got *http.Response, body []byte) *response {
	resp := &response{
		headers: make(map[string]string, len(got.Header)),
		raw:     &engines.Raw{Status: got.StatusCode, ContentType: got.Header.Get("Content-Type"), Body: body},
	}
	if len(body) == 0 {
		resp.raw.Body = nil
	}
	for name, values := range got.Header {
		switch name {
		case "Content-Type", "Content-Length", "Date", fateHeader:
			continue
		}
		resp.headers[name] = values[0]
	}
	return resp
}
