package jwt

import "testing"

func TestGraphAddress(t *testing.T) {
	t.Parallel()
	const issuer = "https://login.microsoftonline.com/t/v2.0"
	for endpoint, want := range map[string]string{
		"https://graph.windows.net/t/users/u/getMemberObjects":      "https://graph.microsoft.com/v1.0/users/u/getMemberObjects",
		"https://graph.microsoft.com/v1.0/users/u/getMemberObjects": "https://graph.microsoft.com/v1.0/users/u/getMemberObjects",
		"https://graph.microsoft.us/v1.0/users/u/getMemberObjects":  "https://graph.microsoft.us/v1.0/users/u/getMemberObjects",
		"https://graph.microsoft.com.evil/v1.0/users/u":             "",
		"https://graph.microsoft.com:8443/v1.0/users/u":             "",
		"https://graph.microsoft.com@evil/v1.0/users/u":             "",
		"http://graph.windows.net/t/users/u/getMemberObjects":       "",
		"//graph.microsoft.com/v1.0/users/u":                        "",
		"https://127.0.0.1/v1.0/users/u/getMemberObjects":           "",
	} {
		got, err := graphAddress(endpoint, issuer)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: asks %q (%v), want %q", endpoint, got, err, want)
		}
	}
}
