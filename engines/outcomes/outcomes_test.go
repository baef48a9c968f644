package outcomes_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/outcomes"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	o, failed := outcomes.New[string](), errors.New("failed")
	o.Tell([]string{"told before"}, "key", nil)
	if got, err := o.Wait(t.Context(), "told before", time.Minute); got != "key" || err != nil {
		t.Errorf("told before: %q, %v", got, err)
	}
	go o.Tell([]string{"another", "told later"}, "", failed)
	if _, err := o.Wait(t.Context(), "told later", time.Minute); !errors.Is(err, failed) {
		t.Errorf("told later: %v", err)
	}
	o.Tell([]string{"told before"}, "second", failed)
	if got, err := o.Wait(t.Context(), "told before", time.Minute); got != "key" || err != nil {
		t.Errorf("told twice: %q, %v", got, err)
	}
	var known *engines.Error
	if _, err := o.Wait(t.Context(), "never told", time.Millisecond); !errors.As(err, &known) || known.Kind != engines.KindUnknownOutcome {
		t.Errorf("never told: %v", err)
	}
}
