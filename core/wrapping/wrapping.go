package wrapping

import (
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// Policy is the name of the policy that wrapping tokens hold. It allows
// unwrapping and looking up, and nothing else.
const Policy = "response-wrapping"

// maxTTL bounds how long a wrapped answer is kept.
const maxTTL = 32 * 24 * time.Hour

// Wrapping keeps wrapped answers.
type Wrapping struct{ tokens *tokens.Tokens }

// New returns the wrapping that makes its tokens with t.
func New(t *tokens.Tokens) *Wrapping { return &Wrapping{tokens: t} }

// kept is the row of a wrapped answer.
type kept struct {
	Response json.RawMessage `json:"response"`
	Path     string          `json:"path"`
	Created  time.Time       `json:"created"`
	TTL      time.Duration   `json:"ttl"`
}

func key(t *tokens.Token) ([]byte, error) {
	raw, err := t.RawKey()
	if err != nil {
		return nil, err
	}
	return state.Key(state.Cubbyholes, state.RootNamespace, raw), nil
}

// Wrap keeps an answer for ttl and returns what the caller gets instead.
func (w *Wrapping) Wrap(tx *state.Tx, response []byte, path string, ttl time.Duration) (*answer.Info, error) {
	if ttl <= 0 || ttl > maxTTL {
		return nil, engines.Invalidf("the wrapping TTL must be more than 0 and at most %s", maxTTL)
	}
	now := tx.Now()
	t := &tokens.Token{
		Type: tokens.Service, Policies: []string{Policy}, Path: path, NumUses: 1,
		Limits: tokens.Limits{CreationTTL: ttl, ExplicitMaxTTL: ttl},
		Times:  tokens.Times{Created: now, Expiry: now.Add(ttl)},
	}
	id, err := w.tokens.Issue(tx, t)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(kept{Response: response, Path: path, Created: now, TTL: ttl})
	if err != nil {
		return nil, engines.Internal(err)
	}
	row, err := key(t)
	if err != nil {
		return nil, err
	}
	if err := tx.Put(row, value, state.PutOptions{}); err != nil {
		return nil, err
	}
	return &answer.Info{
		Token: id, Accessor: t.Accessor, TTL: int64(ttl.Seconds()), CreationTime: now, CreationPath: path,
	}, nil
}

// errNotWrapping is the answer to what is no wrapping token, or no longer one.
func errNotWrapping() error {
	return engines.Invalidf("wrapping token is not valid or does not exist")
}

func (w *Wrapping) read(tx *state.Tx, id string) (*tokens.Token, *kept, error) {
	t, err := w.tokens.Find(tx, id)
	if err != nil {
		if engines.KindOf(err) == engines.KindUnauthorized {
			return nil, nil, errNotWrapping()
		}
		return nil, nil, err
	}
	if len(t.Policies) != 1 || t.Policies[0] != Policy {
		return nil, nil, errNotWrapping()
	}
	rowKey, err := key(t)
	if err != nil {
		return nil, nil, err
	}
	row, err := tx.Get(rowKey)
	if err != nil {
		return nil, nil, err
	}
	if row == nil {
		return nil, nil, errNotWrapping()
	}
	var k kept
	if err := json.Unmarshal(row.Value, &k); err != nil {
		return nil, nil, engines.Internal(err)
	}
	return t, &k, nil
}

// Unwrap returns the answer that a token keeps, and uses the token up.
func (w *Wrapping) Unwrap(tx *state.Tx, id string) (json.RawMessage, error) {
	t, k, err := w.read(tx, id)
	if err != nil {
		return nil, err
	}
	return k.Response, w.tokens.Revoke(tx, t)
}

// Lookup tells of a wrapping token without using it.
func (w *Wrapping) Lookup(tx *state.Tx, id string) (map[string]any, error) {
	_, k, err := w.read(tx, id)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"creation_path": k.Path, "creation_time": k.Created.Format(time.RFC3339Nano), "creation_ttl": int64(k.TTL.Seconds()),
	}, nil
}

// Rewrap keeps the same answer for the same time under a new token.
func (w *Wrapping) Rewrap(tx *state.Tx, id string) (*answer.Info, error) {
	t, k, err := w.read(tx, id)
	if err != nil {
		return nil, err
	}
	info, err := w.Wrap(tx, k.Response, k.Path, k.TTL)
	if err != nil {
		return nil, err
	}
	return info, w.tokens.Revoke(tx, t)
}
