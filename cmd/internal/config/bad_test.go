package config_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

const tcp = "listener \"tcp\" {\n  tls_disable = true\n"

func TestBadConfigurations(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"mistyped at the top":       {"ui = true\napi_adr = \"x\"", `c.hcl:2: unknown key "api_adr" in the configuration: did you mean "api_addr"?`},
		"mistyped in a listener":    {tcp + "  addrss = \"a:1\"\n}", `c.hcl:3: unknown key "addrss" in listener "tcp": did you mean "address"?`},
		"swapped letters":           {"storage \"raft\" {\n paht = \"x\"\n}", `c.hcl:2: unknown key "paht" in storage "raft": did you mean "path"?`},
		"mistyped stanza":           {"\n\nlistner \"tcp\" {}", `c.hcl:3: unknown key "listner" in the configuration: did you mean "listener"?`},
		"misplaced":                 {tcp + "  node_id = \"a\"\n}", `c.hcl:3: "node_id" does not belong in listener "tcp": it is a key of storage "raft"`},
		"misplaced at the top":      {"tls_cert_file = \"x\"", `c.hcl:1: "tls_cert_file" does not belong in the configuration: it is a key of listener "tcp"`},
		"unknown":                   {"frobnicate = 1", `c.hcl:1: unknown key "frobnicate" in the configuration`},
		"mistyped in retry_join":    {"storage \"raft\" {\n path = \"x\"\n retry_join {\n  leader_api_adr = \"https://a\"\n }\n}", `c.hcl:4: unknown key "leader_api_adr" in retry_join: did you mean "leader_api_addr"?`},
		"mistyped in telemetry":     {"telemetry {\n  prometheus_retention = \"1h\"\n}", `c.hcl:2: unknown key "prometheus_retention" in telemetry`},
		"mistyped in JSON":          {"{\n \"ui\": true,\n \"listener\": {\"tcp\": {\"tls_disable\": true,\n  \"addrss\": \"a:1\"}}\n}", `c.hcl:4: unknown key "addrss" in listener "tcp": did you mean "address"?`},
		"twice":                     {"ui = true\nui = false", `c.hcl:2: "ui" is set twice in the configuration: first at line 1`},
		"twice in JSON":             {"{\"ui\": true,\n\"ui\": false}", `c.hcl:2: "ui" is set twice in the configuration: first at line 1`},
		"two storages":              {"storage \"raft\" {}\nstorage \"raft\" {}", "c.hcl:2: storage is set twice: first at c.hcl:1"},
		"storage of another type":   {"storage \"consul\" {\n}", `c.hcl:1: storage "consul" is not supported: use storage "raft", which needs nothing else to run`},
		"storage without a label":   {"storage {\n path = \"x\"\n}", "c.hcl:2: expected a label such as \"tcp\", and then a block in braces"},
		"listener of another type":  {"listener \"udp\" {}", `c.hcl:1: listener "udp" is not supported: use "tcp" or "unix"`},
		"seal of another type":      {"seal \"awskms\" {}", `c.hcl:1: seal "awskms" is not supported: use "shamir", "static" or "transit"`},
		"two seals":                 {"seal \"shamir\" {}\nseal \"static\" {\n current_key_id=\"a\"\n current_key=\"b\"\n}", "c.hcl:2: two seals are enabled: the other is at c.hcl:1"},
		"static without a key":      {"seal \"static\" {\n}", `c.hcl:1: seal "static" needs current_key_id and current_key`},
		"transit without a token":   {"seal \"transit\" {\n address=\"https://a\"\n key_name=\"k\"\n}", `c.hcl:1: seal "transit" needs a token, best given as COFFER_TRANSIT_SEAL_TOKEN`},
		"bad duration":              {"\ndefault_lease_ttl = \"soon\"", `c.hcl:2: default_lease_ttl: expected a duration such as "90s", "768h" or "30d", or a number of seconds, not "soon"`},
		"negative duration":         {"max_lease_ttl = -5", `c.hcl:1: max_lease_ttl: expected a duration such as "90s", "768h" or "30d", or a number of seconds, not "-5"`},
		"bad size":                  {tcp + "max_request_size = \"much\"\n}", `c.hcl:3: max_request_size: expected a size in bytes or such as "32MiB", not "much"`},
		"bad truth":                 {"ui = \"maybe\"", `c.hcl:1: ui: expected true or false, not "maybe"`},
		"list for a text":           {"api_addr = [\"a\"]", "c.hcl:1: api_addr: expected a single value"},
		"bad number":                {"storage \"raft\" {\n performance_multiplier = 11\n}", `c.hcl:2: performance_multiplier: expected a whole number from 0 to 10, not "11"`},
		"bad choice":                {"storage \"raft\" {\n log_store = \"sqlite\"\n}", `c.hcl:2: log_store: expected one of bolt, wal, not "sqlite"`},
		"bad address":               {"\n" + tcp + "address = \"8200\"\n}", `c.hcl:2: address: expected host:port, such as "127.0.0.1:8200", not "8200"`},
		"template":                  {tcp + "address = \"{{ GetPrivateIP }}:8200\"\n}", "c.hcl:1: address: templates are not supported: write the address"},
		"no certificate":            {"listener \"tcp\" {\n}", `c.hcl:1: listener "tcp" needs tls_cert_file and tls_key_file, or tls_disable = true`},
		"old TLS":                   {tcp + "tls_min_version = \"tls10\"\n}", `c.hcl:3: tls_min_version: tls10 is broken and not offered: use "tls12" or "tls13"`},
		"broken suite":              {tcp + "tls_cipher_suites = \"TLS_RSA_WITH_RC4_128_SHA\"\n}", "c.hcl:3: tls_cipher_suites: TLS_RSA_WITH_RC4_128_SHA is broken and not offered"},
		"client CA without TLS":     {tcp + "tls_require_and_verify_client_cert = true\n}", "c.hcl:1: tls_require_and_verify_client_cert needs TLS, which tls_disable switches off"},
		"bad network":               {tcp + "x_forwarded_for_authorized_addrs = \"10.0.0.0/99\"\n}", `c.hcl:3: x_forwarded_for_authorized_addrs: expected an address or a network such as "10.0.0.0/8", not "10.0.0.0/99"`},
		"PROXY protocol":            {tcp + "proxy_protocol_behavior = \"use_always\"\n}", "c.hcl:3: proxy_protocol_behavior is not supported: the PROXY protocol is not spoken: use x_forwarded_for_authorized_addrs"},
		"bad header status":         {tcp + "custom_response_headers {\n \"600\" = {}\n}\n}", `c.hcl:4: custom_response_headers: expected "default", a status such as "404" or a class such as "4xx", not "600"`},
		"split header":              {tcp + "custom_response_headers {\n \"200\" = { \"a\" = \"x\\ny\" }\n}\n}", `c.hcl:4: custom_response_headers: "a" is not a header that can be sent`},
		"bad socket mode":           {"listener \"unix\" {\n address = \"/s\"\n socket_mode = \"rw\"\n}", `c.hcl:3: socket_mode: expected an octal mode such as "0660", not "rw"`},
		"socket without an address": {"listener \"unix\" {\n}", `c.hcl:1: listener "unix" needs an address: the path of its socket`},
		"join without a leader":     {"storage \"raft\" {\n retry_join {\n }\n}", "c.hcl:2: retry_join needs leader_api_addr"},
		"join by discovery":         {"storage \"raft\" {\n retry_join {\n auto_join = \"provider=aws\"\n }\n}", "c.hcl:3: auto_join is not supported: name the nodes with leader_api_addr; gossip finds the others"},
		"lease limits":              {"default_lease_ttl = \"2h\"\nmax_lease_ttl = \"1h\"", "default_lease_ttl (2h0m0s) is above max_lease_ttl (1h0m0s)"},
		"api_addr":                  {"api_addr = \"10.0.0.1:8200\"", `api_addr: expected an address such as "https://10.0.0.1:8200", not "10.0.0.1:8200"`},
		"HCL that ends early":       {"ui = true\nstorage \"raft\" {", "c.hcl:2: object expected closing RBRACE got: EOF"},
		"HCL with a stray sign":     {"ui = true\n= 4", "c.hcl:2: no object keys found!"},
		"JSON that ends early":      {"{\n\"ui\": true,", "c.hcl:2: the file ends early"},
		"JSON with null":            {"{\n\"ui\": null}", "c.hcl:2: null is not a value: leave the key out"},
		"JSON that goes on":         {"{}\n{}", "c.hcl:2: the file goes on after its object"},
		"deep":                      {strings.Repeat("a {", 1000) + strings.Repeat("}", 1000), "c.hcl:1: blocks and lists are nested too deeply"},
		"deep JSON":                 {strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), "c.hcl:1: blocks and lists are nested too deeply"},
		"huge":                      {strings.Repeat("#", 1<<20+1), "c.hcl:1: the file is larger than the limit of 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("c.hcl", []byte(c.text), environment(nil).lookup)
			if err == nil {
				t.Fatalf("it was taken:\n%s", c.text)
			}
			if !strings.Contains("\n"+err.Error()+"\n", "\n"+c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestEveryProblemIsTold(t *testing.T) {
	_, err := config.Parse("c.hcl", []byte("uii = 1\nlog_lvel = \"info\"\nlistener \"tcp\" {\n tls_disabled = true\n}"), environment(nil).lookup)
	want := `c.hcl:1: unknown key "uii" in the configuration: did you mean "ui"?
c.hcl:2: unknown key "log_lvel" in the configuration: did you mean "log_level"?
c.hcl:4: unknown key "tls_disabled" in listener "tcp": did you mean "tls_disable"?
c.hcl:3: listener "tcp" needs tls_cert_file and tls_key_file, or tls_disable = true`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// An error must not repeat what may be a key or a token.
func TestErrorsShowNoSecrets(t *testing.T) {
	const secret = "hvs.CAESIJsecret"
	for _, text := range []string{
		"seal \"transit\" {\n token = \"" + secret + "\"\n}",
		"seal \"transit\" {\n token = [\"" + secret + "\"]\n}",
		"seal \"static\" {\n current_key = \"" + secret + "\"\n}",
		"seal \"static\" {\n current_key { a = \"" + secret + "\" }\n}",
	} {
		_, err := config.Parse("c.hcl", []byte(text), environment(nil).lookup)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("the error is: %v", err)
		}
	}
}
