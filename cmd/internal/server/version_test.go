package server

import "testing"

// TestVersions: clients can read the version of any build, and take it for the
// release of Vault that it stands for: not for one before it, nor a later one.
func TestVersions(t *testing.T) {
	t.Parallel()
	for build, want := range map[string]string{
		"": "1.14.0+coffer.0.0.0-dev", "dev": "1.14.0+coffer.0.0.0-dev", "e5584e5-dirty": "1.14.0+coffer.0.0.0-dev.e5584e5-dirty",
		"v0.3.1": "1.14.0+coffer.0.3.1", "v1.0.0-rc.1+b_x": "1.14.0+coffer.0.0.0-dev.1.0.0-rc.1-b-x", "v1.0.0+b": "1.14.0+coffer.1.0.0.b",
	} {
		got := apiVersion(semver(build))
		m := semantic.FindStringSubmatch(got)
		if got != want || m == nil {
			t.Errorf("%q: %q, want %q, which clients can read", build, got, want)
			continue
		}
		if number, pre := m[1]+"."+m[2]+"."+m[3], m[4]; number != compatible || pre != "" {
			t.Errorf("%q is %s with %q before it, want %s", got, number, pre, compatible)
		}
	}
}
