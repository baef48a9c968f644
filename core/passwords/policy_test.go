package passwords_test

import (
	"crypto/rand"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/passwords"
)

const good = `
length = 12
rule "charset" {
  charset = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 2
}
rule "charset" {
  charset = "0123456789"
  min-chars = 1
}
rule "charset" { charset = "äß€" }
`

func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		good, `{"length": 12, "rule": [{"charset": {"charset": "abcdefghijklmnopqrstuvwxyz", "min-chars": 2}}, {"charset": {"charset": "0123456789", "min-chars": 1}}]}`,
	} {
		p, err := passwords.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for range 200 {
			got, err := p.Generate(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if len([]rune(got)) != 12 || !strings.ContainsAny(got, "0123456789") || seen[got] {
				t.Fatalf("made %q", got)
			}
			seen[got] = true
		}
	}
}

// All passwords that the rules allow are equally likely: here there are
// 4^4 - 3^4 of them, and none is met much more or less often than another.
func TestUniform(t *testing.T) {
	t.Parallel()
	p, err := passwords.Parse(`
length = 4
rule "charset" { charset = "abc" }
rule "charset" {
  charset = "7"
  min-chars = 1
}`)
	if err != nil {
		t.Fatal(err)
	}
	const each = 1000
	random := mrand.NewChaCha8([32]byte{1})
	counts := make(map[string]int)
	const all = 256 - 81
	for range all * each {
		got, err := p.Generate(random)
		if err != nil {
			t.Fatal(err)
		}
		counts[got]++
	}
	sum := 0.0
	for _, n := range counts {
		sum += math.Pow(float64(n-each), 2) / each
	}
	// Chi-square with 174 degrees of freedom: 99.9 % lie below 236.
	if len(counts) != all || sum > 236 {
		t.Errorf("%d passwords, chi-square %.0f", len(counts), sum)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("rule \"charset\" { charset = \"a\" }\n", 100)
	for _, text := range []string{
		"", "length = 10", `rule "charset" { charset = "abc" }`, "length = 3\nrule \"charset\" { charset = \"abc\" }",
		"length = 2000\nrule \"charset\" { charset = \"abc\" }", "length = 10\nrule \"charset\" {}", "length = 10\nrule \"words\" { charset = \"a\" }",
		"length = 10\nrule \"charset\" { charset = \"a\\n\" }", "length = 10\nrule \"charset\" { charset = 7 }", "length = 10\nrule = 7",
		"length = 4\nrule \"charset\" { charset = \"abc\"\n min-chars = 5 }", "length = {}", "width = 7", `"" = 1`, "length = 99999999999999999999",
		"length = 10\n" + long, strings.Repeat("#", 100_000), "length = 10\nrule \"charset\" { charset = \"abc\"\n min-chars = -1 }",
		fmt.Sprintf("length = 60\nrule \"charset\" { charset = %q }\nrule \"charset\" {\n charset = \"7\"\n min-chars = 50 }", "abcdefghijklmnop"),
	} {
		if _, err := passwords.Parse(text); err == nil {
			t.Errorf("%.60q was accepted", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add(`{"length": 10, "rule": {"charset": [{"charset": "abc", "min-chars": 1}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := passwords.Parse(text)
		if err != nil {
			return
		}
		if _, err := p.Generate(rand.Reader); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
