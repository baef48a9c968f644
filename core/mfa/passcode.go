package mfa

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what is tried.
const (
	maxGiven = 32
	maxWait  = 15 * time.Minute
	// memory is for how long wrong passcodes are remembered.
	memory = time.Hour
)

// passcodeForm is checked here: the library trims what it is given, and so would
// take one passcode in many spellings.
var passcodeForm = regexp.MustCompile(`^[0-9]{6,8}$`)

// Given are passcodes by the id or the name of their method.
type Given map[string]string

func errTwice() error {
	return engines.Invalidf("give each method one passcode")
}

// add keeps a passcode, which may be written as "passcode=123456".
func (g Given) add(method, passcode string) error {
	if _, ok := g[method]; ok || len(g) >= maxGiven {
		return errTwice()
	}
	g[method] = strings.TrimPrefix(passcode, "passcode=")
	return nil
}

// ParseHeader reads the values of X-Vault-MFA: method:passcode.
func ParseHeader(values []string) (Given, error) {
	g := make(Given)
	for _, value := range values {
		method, passcode, ok := strings.Cut(value, ":")
		if !ok || method == "" {
			return nil, engines.Invalidf("X-Vault-MFA: expected METHOD:PASSCODE")
		}
		if err := g.add(method, passcode); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// ParsePayload reads mfa_payload: for each method a list of one passcode.
func ParsePayload(payload map[string]json.RawMessage) (Given, error) {
	g := make(Given)
	for method, raw := range payload {
		var one string
		var several []string
		switch {
		case json.Unmarshal(raw, &several) == nil && len(several) == 1:
			one = several[0]
		case json.Unmarshal(raw, &one) == nil && string(raw) != "null":
		default:
			return nil, engines.Invalidf("mfa_payload: expected for each method a list of one passcode, which is text")
		}
		if err := g.add(method, one); err != nil {
			return nil, err
		}
	}
	if len(g) == 0 {
		return nil, engines.Invalidf("mfa_payload: expected for each method a list of one passcode, which is text")
	}
	return g, nil
}

// Prove checks what a login has to prove. What it writes has to be committed
// with the token, or with the refusal.
func (m *MFA) Prove(tx *state.Tx, need *Need, entity string, given Given) error {
	proven := make(map[string]error) // by method; nil for a good passcode
	for _, e := range need.enforcements {
		var details []string
		ok := false
		for _, id := range e.Methods {
			method := need.rules.methods[id]
			passcode, named := given.of(method)
			if !named {
				continue
			}
			tried, done := proven[id]
			if !done {
				tried = prove(tx, method, entity, passcode)
				proven[id] = tried
			}
			if tried == nil {
				ok = true
				break
			}
			if engines.KindOf(tried) != engines.KindDenied {
				return tried
			}
			details = append(details, tried.Error())
		}
		if ok {
			continue
		}
		if len(details) == 0 {
			details = append(details, fmt.Sprintf("no passcode was given for a method of enforcement %q", e.Name))
		}
		return &engines.Error{Kind: engines.KindDenied, Message: "permission denied", Details: details, Keep: true}
	}
	return nil
}

func (g Given) of(method *Method) (passcode string, ok bool) {
	if method == nil {
		return "", false
	}
	if passcode, ok = g[method.ID]; !ok && method.Name != "" {
		passcode, ok = g[method.Name]
	}
	return passcode, ok
}

// proof is what is remembered of an entity's passcodes of a method.
type proof struct {
	// Step is the last time step whose passcode was taken.
	Step uint64 `json:"step"`
	// Failed counts wrong passcodes in a row, Rounds how often they were too many;
	// until Until none is tried.
	Failed int64     `json:"failed,omitempty"`
	Rounds int       `json:"rounds,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

func proofPath(method, entity string) string { return proofDir + method + "/" + entity }

func denied(format string, args ...any) error {
	return engines.Errorf(engines.KindDenied, format, args...)
}

// prove takes a passcode if it is right and has not been used. The row of the
// proof is a condition of the commit: of two that bring the same passcode at
// once, one is run again and finds it used.
func prove(tx *state.Tx, method *Method, entity, passcode string) error {
	var s secret
	ok, err := load(region(tx), secretPath(method.ID, entity), &s)
	if err != nil {
		return err
	}
	if !ok {
		return denied("the entity has no secret for this method")
	}
	var p proof
	path := proofPath(method.ID, entity)
	if _, err := load(passing(tx), path, &p); err != nil {
		return err
	}
	now := tx.Now()
	if now.Before(p.Until) {
		return denied("maximum TOTP validation attempts exceeded: try again in %d seconds", int64(p.Until.Sub(now)/time.Second)+1)
	}
	step, err := s.match(passcode, p.Step, now)
	switch {
	case err != nil:
		return err
	case step == 0:
		p.fail(method.MaxAttempts, s.Period, now)
		if err := save(passing(tx), path, &p, state.PutOptions{Expiry: now.Add(memory)}); err != nil {
			return err
		}
		return denied("failed to validate TOTP passcode")
	case step <= p.Step:
		period := int64(s.Period / time.Second)
		return denied("code already used; new code is available in %d seconds", period-now.Unix()%period)
	}
	// The row outlasts the passcode: skew and the step itself.
	lasts := time.Duration(s.Skew+2) * s.Period
	return save(passing(tx), path, &proof{Step: step}, state.PutOptions{Expiry: now.Add(max(lasts, memory))})
}

// fail counts a wrong passcode. Each time they are too many the wait doubles, so
// that guessing takes years where the passcodes of one period are a thousand.
func (p *proof) fail(limit int64, period time.Duration, now time.Time) {
	p.Failed++
	if p.Failed < limit {
		return
	}
	wait := maxWait
	if p.Rounds < 10 {
		wait = min(period<<p.Rounds, maxWait)
	}
	p.Failed, p.Rounds, p.Until = 0, p.Rounds+1, now.Add(wait)
}

// match returns the time step that a passcode is of, or 0. A step after the last
// one used is preferred.
func (s *secret) match(passcode string, used uint64, now time.Time) (uint64, error) {
	if !passcodeForm.MatchString(passcode) || int64(len(passcode)) != s.Digits {
		return 0, nil
	}
	hash, err := algorithm(s.Algorithm)
	if err != nil {
		return 0, err
	}
	opts := hotp.ValidateOpts{Digits: otp.Digits(s.Digits), Algorithm: hash}
	present := now.Unix() / int64(s.Period/time.Second)
	var found []uint64
	for at := present - s.Skew; at <= present+s.Skew; at++ {
		step := uint64(max(at, 0))
		ok, err := hotp.ValidateCustom(passcode, step, s.Key, opts)
		if err != nil {
			return 0, engines.Internal(nil) // the cause may tell of the secret
		}
		if ok {
			found = append(found, step)
		}
	}
	if len(found) == 0 {
		return 0, nil
	}
	if i := slices.IndexFunc(found, func(step uint64) bool { return step > used }); i >= 0 {
		return found[i], nil
	}
	return found[0], nil
}
