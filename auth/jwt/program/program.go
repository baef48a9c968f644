package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Bounds of a program. The cost is that of its steps, as the language counts.
const (
	maxExpression = 16 << 10
	maxVariables  = 64
	maxDepth      = 64
	maxCost       = 1_000_000
	maxRefusal    = 512
)

// Source is a program as it is written.
type Source struct {
	Variables  []Variable `json:"variables"`
	Expression string     `json:"expression"`
}

// Variable is a named expression.
type Variable struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// ErrProgram is that a program cannot decide: what it does with these claims is
// an error.
var ErrProgram = errors.New("the role's program fails on this token")

// Refusal is why a program lets somebody not in; empty if it does not say.
type Refusal struct{ Text string }

// Error implements error.
func (r *Refusal) Error() string {
	if r.Text == "" {
		return "the role's program refuses this token"
	}
	return "the role's program refuses this token: " + r.Text
}

// Program is one that can run. It is safe for concurrent use.
type Program struct {
	variables []step
	last      step
}

type step struct {
	name    string
	program cel.Program
}

var isName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Compile reads a program. The error says which part is wrong, and how.
func Compile(s Source) (*Program, error) {
	if len(s.Variables) > maxVariables {
		return nil, fmt.Errorf("at most %d variables", maxVariables)
	}
	env, err := cel.NewEnv(
		cel.TypeDescs(descriptors()), cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)), cel.Variable("now", cel.TimestampType),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(maxDepth),
	)
	if err != nil {
		return nil, err
	}
	p := new(Program)
	seen := map[string]bool{"claims": true, "now": true}
	for _, v := range s.Variables {
		if !isName.MatchString(v.Name) || seen[v.Name] {
			return nil, errors.New("each variable has a name of its own, of letters, digits and _")
		}
		seen[v.Name] = true
		made, err := compile(env, v.Expression)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		p.variables = append(p.variables, step{v.Name, made})
		if env, err = env.Extend(cel.Variable(v.Name, cel.DynType)); err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
	}
	if p.last.program, err = compile(env, s.Expression); err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	return p, nil
}

func compile(env *cel.Env, text string) (cel.Program, error) {
	if strings.TrimSpace(text) == "" || len(text) > maxExpression {
		return nil, fmt.Errorf("it has 1 to %d bytes", maxExpression)
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	loosen(parsed)
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	return env.Program(checked, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
}

// loosen lets the two ends of a condition be of different types, which the
// language forbids: programs answer "who it is, or why not".
func loosen(parsed *cel.Ast) {
	native := parsed.NativeRep()
	id, factory := ast.MaxID(native), ast.NewExprFactory()
	ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Conditional {
			return
		}
		for _, end := range e.AsCall().Args()[1:] {
			id++
			same := factory.NewUnspecifiedExpr(id)
			same.SetKindCase(end)
			end.SetKindCase(factory.NewCall(end.ID(), "dyn", same))
		}
	}))
}

// Run decides on claims, whose numbers are json.Number.
func (p *Program) Run(ctx context.Context, claims map[string]any, now time.Time) (*Auth, error) {
	seen := map[string]any{"claims": plain(claims), "now": now}
	for _, v := range p.variables {
		got, _, err := v.program.ContextEval(ctx, seen)
		if err != nil {
			return nil, fmt.Errorf("%w: variable %s", ErrProgram, v.name)
		}
		seen[v.name] = got
	}
	got, _, err := p.last.program.ContextEval(ctx, seen)
	if err != nil {
		return nil, ErrProgram
	}
	return answer(got)
}

// answer reads what a program answers.
func answer(got ref.Val) (*Auth, error) {
	switch v := got.Value().(type) {
	case string:
		return nil, &Refusal{Text: v[:min(len(v), maxRefusal)]}
	case bool:
		if !v {
			return nil, &Refusal{}
		}
	case proto.Message:
		if v.ProtoReflect().Descriptor().FullName() != "pb.Auth" {
			break
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(v)
		if err != nil {
			return nil, ErrProgram
		}
		a := new(Auth)
		if err := json.Unmarshal(text, a); err != nil {
			return nil, ErrProgram
		}
		return a, nil
	}
	return nil, fmt.Errorf("%w: it answers neither with pb.Auth nor with a refusal", ErrProgram)
}

// plain makes numbers what the language knows.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = plain(member)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	}
	return v
}
