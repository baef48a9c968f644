package handover_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coffer-secrets/coffer/core/handover"
)

func TestOnlyWhoAskedLearnsTheKey(t *testing.T) {
	t.Parallel()
	key, other := bytes.Repeat([]byte{1}, handover.KeyBytes), bytes.Repeat([]byte{2}, handover.KeyBytes)
	question := handover.Question()
	rootKey := []byte("a root key of thirty-two bytes !")
	answer, err := handover.Answer(key, question, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer) > handover.MaxAnswer || bytes.Contains(answer, rootKey) {
		t.Errorf("an answer of %d bytes", len(answer))
	}
	if got, err := handover.Open(key, question, answer); err != nil || !bytes.Equal(got, rootKey) {
		t.Errorf("%v", err)
	}
	changed := bytes.Clone(answer)
	changed[len(changed)-1] ^= 1
	for what, c := range map[string]struct{ key, question, answer []byte }{
		"other keyring":  {other, question, answer},
		"other question": {key, handover.Question(), answer},
		"no question":    {key, nil, answer},
		"changed":        {key, question, changed},
		"cut off":        {key, question, answer[:8]},
		"endless":        {key, question, make([]byte, handover.MaxAnswer+1)},
	} {
		if _, err := handover.Open(c.key, c.question, c.answer); !errors.Is(err, handover.ErrAnswer) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := handover.Answer(key, question[1:], rootKey); !errors.Is(err, handover.ErrAnswer) {
		t.Errorf("a short question: %v", err)
	}
}
