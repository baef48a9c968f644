package conformance_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// untested are the methods of both clients that nothing here calls, by why.
var untested = map[string][]string{
	"engines are built in: there are no plugins": {
		"Sys.DeregisterPlugin", "Sys.GetPlugin", "Sys.ListPlugins", "Sys.RegisterPlugin", "Sys.ReloadPlugin", "Sys.ReloadPluginStatus",
	},
	"there is no recovery mode: a store that cannot be opened is restored": {
		"Sys.GenerateRecoveryOperationTokenCancel", "Sys.GenerateRecoveryOperationTokenInit",
		"Sys.GenerateRecoveryOperationTokenStatus", "Sys.GenerateRecoveryOperationTokenUpdate",
	},
}

// TestEveryCallIsMade fails when a client has a method that is neither called by
// a test nor known to be out of scope, and when a reason has become idle.
func TestEveryCallIsMade(t *testing.T) {
	t.Parallel()
	called := calls(t)
	reasons := make(map[string]string)
	for _, list := range []map[string][]string{untested, untestedHere} {
		for reason, names := range list {
			for _, name := range names {
				reasons[name] = reason
			}
		}
	}
	for _, part := range []any{(*api.Sys)(nil), (*api.Logical)(nil), (*api.TokenAuth)(nil), (*api.KVv1)(nil), (*api.KVv2)(nil)} {
		typ := reflect.TypeOf(part)
		for i := range typ.NumMethod() {
			method := typ.Method(i).Name
			if strings.Contains(method, "WithContext") {
				continue // the method without it calls this one
			}
			name := typ.Elem().Name() + "." + method
			if _, excused := reasons[name]; excused {
				delete(reasons, name)
			} else if !called[method] {
				t.Errorf("%s is not called by any test", name)
			}
		}
	}
	for name, reason := range reasons {
		t.Errorf("%s is excused (%s), but the client has no such method", name, reason)
	}
}

// calls are the names of all methods that the tests of this build call.
func calls(t *testing.T) map[string]bool {
	t.Helper()
	ctx := build.Default
	if api.Name == "OpenBao" {
		ctx.BuildTags = []string{"openbao"}
	}
	out := make(map[string]bool)
	for _, entry := range must(os.ReadDir("."))(t) {
		if !strings.HasSuffix(entry.Name(), "_test.go") || !must(ctx.MatchFile(".", entry.Name()))(t) {
			continue
		}
		file := must(parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.SkipObjectResolution))(t)
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
					out[selector.Sel.Name] = true
				}
			}
			return true
		})
	}
	return out
}
