package program_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/jwt/program"
)

func source(expression string, variables ...string) program.Source {
	s := program.Source{Expression: expression}
	for i := 0; i < len(variables); i += 2 {
		s.Variables = append(s.Variables, program.Variable{Name: variables[i], Expression: variables[i+1]})
	}
	return s
}

func run(t *testing.T, s program.Source, claims map[string]any) (*program.Auth, error) {
	t.Helper()
	p, err := program.Compile(s)
	if err != nil {
		t.Fatalf("%s: %v", s.Expression, err)
	}
	return p.Run(t.Context(), claims, time.Unix(1000, 0))
}

func TestAuth(t *testing.T) {
	t.Parallel()
	s := source(`admin && now > timestamp(0) ? pb.Auth{
		display_name: claims.sub, policies: ["a", claims.team], metadata: {"n": string(n)}, period: 60, num_uses: 2, explicit_max_ttl: 5,
		alias: pb.Alias{name: claims.sub, metadata: {"k": "v"}}, group_aliases: groups.map(g, pb.Alias{name: g}), bound_cidrs: ["10.0.0.0/8"],
		lease_options: pb.LeaseOptions{TTL: 3600000000000, MaxTTL: 7200000000000, renewable: true}, no_default_policy: true} : "not an admin"`,
		"groups", "claims.groups", "admin", `"admin" in groups`, "n", "claims.n + 1")
	claims := map[string]any{"sub": "alice", "team": "red", "groups": []any{"admin", "x"}, "n": json.Number("41")}
	got, err := run(t, s, claims)
	if err != nil {
		t.Fatal(err)
	}
	want := &program.Auth{
		DisplayName: "alice", Policies: []string{"a", "red"}, Metadata: map[string]string{"n": "42"}, Period: 60, NumUses: 2, ExplicitMaxTTL: 5,
		Alias:        program.Alias{Name: "alice", Metadata: map[string]string{"k": "v"}},
		GroupAliases: []program.Alias{{Name: "admin"}, {Name: "x"}}, BoundCIDRs: []string{"10.0.0.0/8"}, NoDefaultPolicy: true,
	}
	want.LeaseOptions.TTL, want.LeaseOptions.MaxTTL, want.LeaseOptions.Renewable = int64(time.Hour), int64(2*time.Hour), true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answered %+v, want %+v", got, want)
	}
	claims["groups"] = []any{"x"}
	var refusal *program.Refusal
	if got, err := run(t, s, claims); !errors.As(err, &refusal) || refusal.Text != "not an admin" {
		t.Errorf("answered %v %v", got, err)
	}
	delete(claims, "groups")
	if got, err := run(t, s, claims); !errors.Is(err, program.ErrProgram) {
		t.Errorf("answered %v %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	var refusal *program.Refusal
	if _, err := run(t, source("false"), nil); !errors.As(err, &refusal) {
		t.Errorf("answered %v", err)
	}
	for _, text := range []string{
		"true", "1", "claims", "null", "[pb.Auth{}]", "pb.Alias{}", "claims.none", "1/0 == 1",
		`[1,2,3,4,5,6,7,8,9].all(a,[1,2,3,4,5,6,7,8,9].all(b,[1,2,3,4,5,6,7,8,9].all(c,[1,2,3,4,5,6,7,8,9].all(d,[1,2,3,4,5,6,7,8,9].all(e,[1,2,3,4,5,6,7,8,9].all(f,[1,2,3,4,5,6,7,8,9].all(g,true)))))))`,
	} {
		if got, err := run(t, source(text), map[string]any{}); !errors.Is(err, program.ErrProgram) {
			t.Errorf("%s: answered %v %v", text, got, err)
		}
	}
	p, err := program.Compile(source("[1,2,3,4,5,6,7,8,9].all(a,[1,2,3,4,5,6,7,8,9].all(b,[1,2,3,4,5,6,7,8,9].all(c,a+b+c>0)))"))
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := p.Run(ended, nil, time.Now()); err == nil {
		t.Errorf("after its time: %v", got)
	}
}

func TestCompile(t *testing.T) {
	t.Parallel()
	for _, s := range []program.Source{
		source(""), source("claims."), source("unknown"), source("pb.Auth{nothing: 1}"), source("pb.Auth{policies: 1}"), source("pb.Other{}"),
		source("true", "claims", "1"), source("true", "a", "b", "b", "1"), source("true", "a b", "1"), source("true", "a", "1", "a", "2"),
		source("true", "a", ""), source(strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000)), source(`"` + strings.Repeat("x", 17<<10) + `"`),
	} {
		if _, err := program.Compile(s); err == nil {
			t.Errorf("%.80q compiles", s)
		}
	}
}

// FuzzProgram: what compiles either answers or refuses.
func FuzzProgram(f *testing.F) {
	for _, seed := range []string{"true", "pb.Auth{policies: claims.p}", "claims.x ? 'a' : pb.Auth{}", "claims.map(c, c)", "now", "b'x'", "duration('1h')"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := program.Compile(source(text))
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := p.Run(ctx, map[string]any{"x": true, "p": []any{"a"}}, time.Unix(0, 0)); (got == nil) == (err == nil) {
			t.Errorf("%q answers %v %v", text, got, err)
		}
	})
}
