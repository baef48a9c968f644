package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/policy"
)

// many is a policy of hundreds of rules of all kinds.
func many(rules int) string {
	var b strings.Builder
	for i := range rules {
		switch i % 8 {
		case 0, 1, 2, 3:
			fmt.Fprintf(&b, "path \"kv/data/team-%d/service\" { capabilities = [\"read\"] }\n", i)
		case 4, 5, 6:
			fmt.Fprintf(&b, "path \"kv/data/team-%d/*\" { capabilities = [\"read\", \"list\"] }\n", i)
		default:
			fmt.Fprintf(&b, "path \"kv/+/team-%d/*\" { capabilities = [\"list\"] }\n", i)
		}
	}
	return b.String()
}

func BenchmarkAllow(b *testing.B) {
	for _, rules := range []int{8, 400, 4000} {
		acl := policy.Compile(parse(b, many(rules)), nil)
		for _, c := range []struct{ name, path string }{
			{"exact", "kv/data/team-1/service"}, {"glob", "kv/data/team-4/db/password"}, {"plus", "kv/metadata/team-7/db"}, {"none", "pki/issue/web"},
		} {
			b.Run(fmt.Sprintf("%d/%s", rules, c.name), func(b *testing.B) {
				r := &policy.Request{Path: c.path, Op: policy.Read}
				b.ReportAllocs()
				for b.Loop() {
					acl.Allow(r)
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, rules := range []int{8, 400, 4000} {
		text := many(rules)
		b.Run(fmt.Sprintf("parse/%d", rules), func(b *testing.B) {
			for b.Loop() {
				parse(b, text)
			}
		})
		list := parse(b, text)
		b.Run(fmt.Sprintf("compile/%d", rules), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Compile(list, nil)
			}
		})
	}
}
