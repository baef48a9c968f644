package post

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	maxAnswer   = 64 << 10
	idleTimeout = 90 * time.Second
)

// Sender sends records to one address, each as a POST.
type Sender struct {
	client *http.Client
	url    string
	header http.Header
}

// New returns a sender. Its errors tell no part of the address or the headers.
func New(address string, headers map[string][]string) (*Sender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("url: expected an address such as \"https://siem.example.com/coffer\"")
	}
	header := make(http.Header)
	for name, values := range headers {
		for _, value := range values {
			header.Add(name, value)
		}
	}
	header.Set("Content-Type", "application/json")
	s := &Sender{url: address, header: header, client: &http.Client{
		// What is sent goes where the operator said, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1,
			IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxAnswer, ForceAttemptHTTP2: true,
		},
	}}
	return s, nil
}

// ErrRefused is a server that did not answer with success.
var ErrRefused = errors.New("the server did not take the record")

// Send sends one record.
func (s *Sender) Send(ctx context.Context, record []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(record))
	if err != nil {
		return errors.New("the request could not be made")
	}
	req.Header = s.header.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		var told *url.Error
		if errors.As(err, &told) {
			return told.Err // without the address, which may hold a secret
		}
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection is kept
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return ErrRefused
	}
	return nil
}

// Close drops the idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }
