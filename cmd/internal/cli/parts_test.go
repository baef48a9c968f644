package cli_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/coffer-secrets/coffer/cmd/internal/cli"
)

func TestNormalize(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"kv get -field=a x", "kv get --field=a x"},
		{"-format json kv get x -field a", "kv get --format json x --field a"},
		{"kv get -field -x y", "kv get --field -x y"},
		{"kv -field get x", "kv get --field x"}, // -field is not known there: it takes nothing
		{"kv get kv get", "kv get kv get"},
		{"write -f a -", "write -f a -"},
		{"write -force a k=-v", "write --force a k=-v"},
		{"token renew -i 5m -accessor a", "token renew -i 5m --accessor a"},
		{"read -- -format a", "read -- -format a"},
		{"--format=json status", "status --format=json"},
		{"-tls-skip-verify status", "status --tls-skip-verify"},
		{"operator rekey -init -n 5 -t=3", "operator rekey --init -n 5 -t=3"},
		{"__complete kv get -mount s -fie", "__complete kv get --mount s -fie"},
		{"read -field", "read --field"},
		{"", ""},
	} {
		got := cli.Normalize(strings.Fields(tc.in)...)
		if !slices.Equal(got, strings.Fields(tc.want)) {
			t.Errorf("%s: got %q, want %q", tc.in, got, strings.Fields(tc.want))
		}
	}
}

func TestData(t *testing.T) {
	for _, tc := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"a=1", "a=2", "b="}, `{"a":["1","2"],"b":""}`},
		{`{"a":1.0}`, []string{"-", "a=2"}, `{"a":[1.0,"2"]}`},
		{"null", []string{"-"}, `{}`},
		{"text\n", []string{"a=-"}, `{"a":"text\n"}`},
		{"", []string{`a=\@b`, `c=\b`}, `{"a":"@b","c":"\\b"}`},
		{"", nil, `{}`},
	} {
		got, err := cli.Data(strings.NewReader(tc.stdin), tc.args...)
		if err != nil {
			t.Errorf("%q: %v", tc.args, err)
			continue
		}
		if text, err := json.Marshal(got); err != nil || string(text) != tc.want {
			t.Errorf("%q: got %s, %v; want %s", tc.args, text, err, tc.want)
		}
	}
	for _, args := range [][]string{{"a"}, {"=a"}, {""}, {"@"}, {"-", "-"}, {"a=@"}} {
		if _, err := cli.Data(strings.NewReader("{}"), args...); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestTables(t *testing.T) {
	got := cli.KeyValue([][]string{{"é", "1"}, {"long", ""}})
	if want := "Key     Value\n---     -----\né       1\nlong    n/a\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := cli.Columns([][]string{{"a", "", "c"}, {"bb"}}); got != "a         c\nbb\n" {
		t.Errorf("got %q", got)
	}
	for _, tc := range []struct {
		title string
		width int
		want  string
	}{
		{"Metadata", 24, "======= Metadata ======="}, {"Data", 17, "====== Data ======"}, {"Data", 9, "== Data =="},
		{"Data", 6, "== Data =="}, {"Data", 0, "== Data =="},
	} {
		if got := cli.Banner(tc.title, tc.width); got != tc.want {
			t.Errorf("%s, %d: got %q, want %q", tc.title, tc.width, got, tc.want)
		}
	}
	for seconds, want := range map[int64]string{
		0: "0s", 1: "1s", 60: "1m", 90: "1m30s", 3600: "1h", 5400: "1h30m", 3601: "1h0m1s", 2764800: "768h", -60: "-1m",
	} {
		if got := cli.HumanDuration(seconds); got != want {
			t.Errorf("%d: got %s, want %s", seconds, got, want)
		}
	}
}

func TestCells(t *testing.T) {
	for _, tc := range []struct {
		name string
		v    any
		want string
	}{
		{"ttl", json.Number("3600"), "1h"}, {"default_lease_ttl", json.Number("60"), "1m"}, {"ttl", "3600", "1h"},
		{"ttl", "1h", "1h"}, {"ttl", json.Number("1.5"), "1.5"}, {"ttl", json.Number("99999999999999999999"), "99999999999999999999"},
		{"size", json.Number("3600"), "3600"}, {"x", nil, "<nil>"}, {"x", []any{"a", json.Number("1")}, "[a 1]"},
		{"x", map[string]any{"b": true, "a": nil}, "map[a:<nil> b:true]"},
	} {
		if got := cli.Cell(tc.name, tc.v); got != tc.want {
			t.Errorf("%s %v: got %s, want %s", tc.name, tc.v, got, tc.want)
		}
	}
}

func TestYAML(t *testing.T) {
	got, err := cli.ToYAML(map[string]any{
		"number": json.Number("12345678901234567890"), "float": json.Number("1e40"), "text": "123", "no": "no", "null": nil, "nil": "null",
		"list": []any{}, "map": map[string]any{}, "control": "\x01\u2028", "lines": "a\n b\n", "colon": "a: b #c",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"number: 12345678901234567890\n", "float: 1e40\n", "text: \"123\"\n", "\"no\": \"no\"\n", "\"null\": null\n", "nil: \"null\"\n",
		"list: []\n", "map: {}\n", "control: \"\\x01\\L\"\n", "colon: 'a: b #c'\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestJSON(t *testing.T) {
	got, err := cli.ToJSON(map[string]any{"a": "<&>", "n": json.Number("1.00")})
	if want := "{\n  \"a\": \"<&>\",\n  \"n\": 1.00\n}\n"; err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestQuote has a shell read what was quoted for it.
func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("the tests need a POSIX shell")
	}
	for _, text := range []string{"plain", "a b", "it's", `"`, "$HOME `id` $(id)", `back\slash`, "*?[a]", "", "a\nb", "~", "-x", "ü&;|<>", "!x"} {
		out, err := exec.Command(sh, "-c", "printf %s "+cli.Quote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q: the shell reads %q, %v", text, out, err)
		}
	}
}

func TestSudoPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"sys/seal": true, "sys/auth/x": true, "sys/raw/": true, "sys/raw/a": true, "auth/token/accessors/": true, "sys/leases/lookup/a/b": true,
		"sys/auth": false, "sys/mounts/x": false, "sys/sealing": false, "secret/data/sys/seal": false, "sys/step-down/x": false,
	} {
		if got := cli.NeedsSudo(path); got != want {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]bool{
		"30": true, "30s": true, "1h30m": true, "1.5h": true, "7d": true, "-1": true, "0": true, "2w": true,
		"": false, "s": false, "1y": false, "1h 30m": false, "soon": false, "1e3s": false, strings.Repeat("1h", 100): false,
	} {
		if got := cli.IsDuration(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestOneDash(t *testing.T) {
	got := cli.OneDash(`unknown flag: --no-such, and "--ttl" for 'a--b'`)
	if want := `unknown flag: -no-such, and "-ttl" for 'a--b'`; got != want {
		t.Errorf("got %s", got)
	}
}

func TestPGPKeyForms(t *testing.T) {
	entity, err := openpgp.NewEntity("keeper", "", "keeper@example.test", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var binary, armoured bytes.Buffer
	if err := entity.Serialize(&binary); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&armoured, openpgp.PublicKeyType, nil)
	if err == nil {
		_, err = w.Write(binary.Bytes())
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	want := base64.StdEncoding.EncodeToString(binary.Bytes())
	for form, text := range map[string]string{"binary": binary.String(), "armoured": armoured.String() + "\n", "base64": want + "\n"} {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := cli.PGPKey(name); err != nil || got != want {
			t.Errorf("%s: got %q, %v", form, got, err)
		}
	}
}
