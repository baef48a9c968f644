package httpapi

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// stateVersion begins a state in the form that Vault's clients know:
	// version, cluster, local and replicated index, and a MAC, which is left
	// empty. Who claims an index only makes his own request wait.
	stateVersion = "v1"
	stateParts   = 5
	// maxStates is how many states a client may bring: its library keeps two.
	maxStates     = 4
	maxStateBytes = 256
)

// tellState tells the index of a write in the form that Vault's clients bring
// along to read their own writes. A client that only reads needs none.
func (s *server) tellState(resp *response) {
	cluster, err := s.Core.ClusterID()
	if err != nil || cluster == "" || resp.index == 0 {
		return
	}
	text := make([]byte, 0, maxStateBytes)
	text = append(append(append(text, stateVersion+":"...), cluster...), ':')
	text = append(strconv.AppendUint(text, resp.index, 10), ':')
	text = append(strconv.AppendUint(text, resp.index, 10), ':')
	headers := map[string]string{"X-Vault-Index": base64.StdEncoding.EncodeToString(text)}
	maps.Copy(headers, resp.headers)
	resp.headers = headers
}

// awaitIndex waits until this node has what the request requires to be there.
func (s *server) awaitIndex(ctx context.Context, h http.Header) error {
	own, states := h["X-Coffer-Index"], h["X-Vault-Index"]
	if len(own)+len(states) == 0 {
		return nil
	}
	if len(own)+len(states) > maxStates {
		return engines.Invalidf("the request requires more than %d indexes", maxStates)
	}
	var required uint64
	for _, text := range own {
		index, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return engines.Invalidf("X-Coffer-Index: expected an index, which is a number")
		}
		required = max(required, index)
	}
	for _, text := range states {
		index, err := s.stateIndex(text)
		if err != nil {
			return err
		}
		required = max(required, index)
	}
	if required == 0 || s.Core.Unsealed() == nil { // which is told in its own words
		return nil
	}
	return s.Core.Await(ctx, required)
}

// stateIndex is the index of a state; 0 if it is of another cluster, whose
// indexes say nothing here. A plain number is taken too.
func (s *server) stateIndex(text string) (uint64, error) {
	if index, err := strconv.ParseUint(text, 10, 64); err == nil {
		return index, nil
	}
	malformed := engines.Invalidf("X-Vault-Index: expected what the header of an answer said")
	if len(text) > maxStateBytes {
		return 0, malformed
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, malformed
	}
	parts := strings.Split(string(raw), ":")
	if len(parts) != stateParts || parts[0] != stateVersion || parts[1] == "" {
		return 0, malformed
	}
	local, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return 0, malformed
	}
	replicated, err := strconv.ParseUint(parts[3], 10, 64)
	if err != nil {
		return 0, malformed
	}
	cluster, err := s.Core.ClusterID()
	if err != nil || parts[1] != cluster {
		return 0, err
	}
	return max(local, replicated), nil
}
