package core

import (
	"fmt"
	"strings"

	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/engines"
)

// denied is the answer to what policy does not allow. Its text is the one that
// clients know; the warnings tell the caller what was missing, from the
// caller's own rules and no others'.
func (a *authenticated) denied(d policy.Decision) error {
	e := engines.Errorf(engines.KindDenied, "permission denied")
	op := operation(a.does)
	switch d.Reason {
	case policy.ReasonNoRule, policy.ReasonCapability:
		e.Warnings = append(e.Warnings, fmt.Sprintf("the policies of this token do not give the capability %q on %q", op, a.policyPath))
	case policy.ReasonDeny:
		e.Warnings = append(e.Warnings, fmt.Sprintf("a rule for %q denies %q", d.Rule.Path(), a.policyPath))
	case "":
		e.Warnings = append(e.Warnings, fmt.Sprintf("%q also needs the capability \"sudo\"", a.policyPath))
	default:
		e.Warnings = append(e.Warnings, fmt.Sprintf("on %q, %s", a.policyPath, d.Reason))
	}
	if hint := a.versionHint(op); hint != "" && d.Reason == policy.ReasonNoRule {
		e.Warnings = append(e.Warnings, hint)
	}
	return e
}

// kvFolders are what a path of kv version 2 has after its mount.
var kvFolders = []string{"data/", "metadata/", "delete/", "undelete/", "destroy/", "subkeys/", "detailed-metadata/"}

// versionHint helps with the first mistake of every newcomer: a rule for
// "secret/foo" where version 2 of kv needs one for "secret/data/foo".
func (a *authenticated) versionHint(op policy.Capability) string {
	if a.mount == nil || a.mount.Type != "kv" || a.mount.Options["version"] != "2" {
		return ""
	}
	rest := strings.TrimPrefix(a.policyPath, a.mount.Path)
	for _, folder := range kvFolders {
		below, ok := strings.CutPrefix(rest, folder)
		if !ok {
			continue
		}
		d := a.acl.Allow(&policy.Request{Path: a.mount.Path + below, Op: op})
		if d.Rule == nil || d.Reason == policy.ReasonDeny || !strings.HasPrefix(d.Rule.Path(), a.mount.Path) {
			return ""
		}
		fixed := a.mount.Path + folder + strings.TrimPrefix(d.Rule.Path(), a.mount.Path)
		return fmt.Sprintf("%q is version 2 of kv, whose API has %q after the mount: a rule for %q is there, write it as\npath %q { capabilities = [%s] }",
			a.mount.Path, folder, d.Rule.Path(), fixed, quoted(d.Rule.Capabilities().Names()))
	}
	return ""
}

func quoted(names []string) string {
	for i := range names {
		names[i] = fmt.Sprintf("%q", names[i])
	}
	return strings.Join(names, ", ")
}
