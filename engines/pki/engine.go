package pki

import (
	"context"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

// Type is the engine's type.
const Type = "pki"

// engine is what all mounts share: what was parsed of their rows.
type engine struct {
	issuers parsed[authority]
	keys    parsed[storedKey]
	roles   parsed[roles.Role]
}

// New returns the engine.
func New() *engines.Engine {
	e := new(engine)
	return &engines.Engine{
		Type: Type, Class: engines.ClassSecret, Help: "Issue certificates, and say which have been revoked.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "A certificate authority. Make or import an issuer, write a role, and write to\nissue/<role> or sign/<role> for a certificate.",
				Routes: e.routes(),
			}, nil
		},
		Revoke: e.revokeLeases, Due: e.due,
	}
}

// due does what was scheduled.
func (e *engine) due(ctx context.Context, r *engines.Reach, name string) error {
	kind, group, _ := strings.Cut(name, "/")
	switch {
	case kind == "list":
		return e.rebuild(ctx, r, group, fullKind)
	case kind == "delta":
		return e.rebuild(ctx, r, group, deltaKind)
	case name == dueAutoTidy:
		return e.runAutoTidy(ctx, r)
	}
	return e.runTidy(ctx, r)
}

func (e *engine) routes() []engines.Route {
	return slices.Concat(e.roleRoutes(), e.issueRoutes(), e.issuerRoutes(), e.makeRoutes(), e.keyRoutes(), e.fetchRoutes(), e.revokeRoutes(), e.configRoutes())
}

func read(h engines.Handler) []engines.Op { return []engines.Op{{Do: engines.Read, Handler: h}} }
func write(h engines.Handler) []engines.Op {
	return []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: h}}
}

// signs marks what makes certificates, and may answer a lease.
func signs(h engines.Handler, ahead engines.Ahead) []engines.Op {
	return []engines.Op{{Do: engines.Update, Trait: engines.Issues, Handler: h, Ahead: ahead}}
}

func (e *engine) roleRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "roles", Help: "List the roles.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(roleDir)}}},
		{
			Pattern: "roles/{name}", Help: "Read, write and delete a role.",
			Fields: append([]engines.Field{{Name: "name", Help: "The name of the role."}}, roles.Fields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: e.readRole},
				{Do: engines.Update, Trait: engines.Writes, Handler: e.writeRole, Exists: roleExists, Help: "Write the role whole."},
				{Do: engines.Patch, Trait: engines.Writes, Handler: e.patchRole, Help: "Change what is given."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteRole},
			},
		},
	}
}

func (e *engine) issueRoutes() []engines.Route {
	var out []engines.Route
	for _, prefix := range []string{"", "issuer/{issuer_ref}/"} {
		issuer := issuerField(prefix != "")
		out = append(out,
			engines.Route{
				Pattern: prefix + "issue/{role}", Help: "Make a key and a certificate.",
				Fields: slices.Concat(issuer, []engines.Field{roleField()}, certFields(), keyKindFields(""), leafFields()), Ops: signs(e.issue, e.preparingKey),
			},
			engines.Route{
				Pattern: prefix + "sign/{role}", Help: "Make a certificate of a CSR.",
				Fields: slices.Concat(issuer, []engines.Field{roleField(), csrField()}, certFields(), leafFields()), Ops: signs(e.sign, nil),
			},
			engines.Route{
				Pattern: prefix + "sign-verbatim", Help: "Make a certificate of a CSR as it is.",
				Fields: slices.Concat(issuer, []engines.Field{roleField(), csrField()}, certFields(), leafFields(), usageFields(), verbatimFields()), Ops: signs(e.signVerbatim, nil),
			},
			engines.Route{
				Pattern: prefix + "sign-verbatim/{role}", Help: "Make a certificate of a CSR as it is, for as long as a role says.",
				Fields: slices.Concat(issuer, []engines.Field{roleField(), csrField()}, certFields(), leafFields(), usageFields(), verbatimFields()), Ops: signs(e.signVerbatim, nil),
			},
		)
	}
	return out
}

func (e *engine) makeRoutes() []engines.Route {
	root := slices.Concat(certFields(), subjectFields(), keyKindFields("rsa"), newKeyFields(), caFields(), issuerNameField())
	intermediate := slices.Concat(certFields(), subjectFields(), keyKindFields("rsa"), newKeyFields(), requestFields())
	route := func(pattern, help string, fields []engines.Field, h engines.Handler) engines.Route {
		return engines.Route{
			Pattern: pattern, Help: help, Fields: slices.Concat([]engines.Field{{Name: "exported", Help: "internal, exported for an answer with the private key, or existing for key_ref."}}, fields),
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: h, Ahead: makingKey}},
		}
	}
	bundle := []engines.Field{{Name: "pem_bundle", Help: "Certificates and private keys in PEM.", Secret: true}}
	cross := route("intermediate/cross-sign", "Make a CSR of a key that is here, to have it signed by another CA too.", intermediate, e.crossSign)
	cross.Fields[0].Default, cross.Ops[0].Ahead = "existing", nil
	signed := slices.Concat([]engines.Field{csrField()}, certFields(), subjectFields(), caFields(), issuerNameField(), []engines.Field{
		{Name: "use_csr_values", Type: engines.Bool, Default: false, Help: "Take the subject and names from the CSR."},
		{Name: "skid", Default: "", Help: "The subject key identifier, in hex."},
	})
	selfIssued := []engines.Field{
		{Name: "certificate", Help: "The self-signed certificate, in PEM."},
		{Name: "require_matching_certificate_algorithms", Type: engines.Bool, Default: false, Help: "Refuse one whose key is of another algorithm than the issuer's."},
	}
	out := []engines.Route{
		route("root/generate/{exported}", "Make a root.", root, e.generateRoot(false)),
		route("root/rotate/{exported}", "Make another root, to take over later.", root, e.generateRoot(true)),
		route("issuers/generate/root/{exported}", "Make another root.", root, e.generateRoot(false)),
		route("intermediate/generate/{exported}", "Make a key and a CSR for another CA.", intermediate, e.generateIntermediate),
		route("issuers/generate/intermediate/{exported}", "Make a key and a CSR for another CA.", intermediate, e.generateIntermediate),
		cross,
		{Pattern: "intermediate/set-signed", Help: "Take what was made of a CSR of here.", Fields: []engines.Field{{Name: "certificate", Help: "The certificate, and those above it, in PEM."}}, Ops: write(e.importBundle("certificate", true))},
		{Pattern: "issuers/import/cert", Help: "Import certificates of issuers.", Fields: bundle, Ops: write(e.importBundle("pem_bundle", false))},
		{Pattern: "issuers/import/bundle", Help: "Import issuers and keys.", Fields: bundle, Ops: write(e.importBundle("pem_bundle", true))},
		{Pattern: "config/ca", Help: "Import issuers and keys.", Fields: bundle, Ops: write(e.importBundle("pem_bundle", true))},
		{
			Pattern: "root", Help: "Delete all issuers and keys.", Sudo: true,
			Ops: []engines.Op{{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteRoot}},
		},
		{
			Pattern: "root/replace", Help: "Make another issuer the default.", Fields: []engines.Field{{Name: "default", Default: "next", Help: "The issuer."}},
			Ops: write(e.writeDefaultIssuer),
		},
		{Pattern: "root/sign-intermediate", Help: "Make a CA of a CSR.", Fields: slices.Concat(issuerField(false), signed), Ops: signs(e.signIntermediate, nil)},
		{Pattern: "issuer/{issuer_ref}/sign-intermediate", Help: "Make a CA of a CSR.", Fields: slices.Concat(issuerField(true), signed), Ops: signs(e.signIntermediate, nil)},
		{Pattern: "root/sign-self-issued", Help: "Sign the certificate of a CA once more.", Sudo: true, Fields: slices.Concat(issuerField(false), selfIssued), Ops: signs(e.signSelfIssued, nil)},
		{Pattern: "issuer/{issuer_ref}/sign-self-issued", Help: "Sign the certificate of a CA once more.", Sudo: true, Fields: slices.Concat(issuerField(true), selfIssued), Ops: signs(e.signSelfIssued, nil)},
	}
	return out
}

func (e *engine) keyRoutes() []engines.Route {
	ref := engines.Field{Name: "key_ref", Help: "The id or name of the key, or default."}
	name := engines.Field{Name: "key_name", Help: "The key's name."}
	generate := func(how string) engines.Route {
		return engines.Route{
			Pattern: "keys/generate/" + how, Help: "Make a key.", Fields: slices.Concat([]engines.Field{name}, keyKindFields("rsa")),
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.generateKey(how), Ahead: makingKey}},
		}
	}
	return []engines.Route{
		{Pattern: "keys", Help: "List the keys.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: e.listKeys}}},
		generate("internal"), generate("exported"), generate("kms"),
		{Pattern: "keys/import", Help: "Import a key.", Fields: []engines.Field{name, {Name: "pem_bundle", Help: "The private key in PEM.", Secret: true}}, Ops: write(e.importKey)},
		{
			Pattern: "key/{key_ref}", Help: "Read, rename and delete a key.", Fields: []engines.Field{ref, name},
			Ops: []engines.Op{
				{Do: engines.Read, Handler: e.readKey},
				{Do: engines.Update, Trait: engines.Writes, Handler: e.writeKey},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteKey},
			},
		},
	}
}

func (e *engine) revokeRoutes() []engines.Route {
	which := []engines.Field{
		{Name: "serial_number", Help: "The serial number of the certificate."}, {Name: "certificate", Help: "The certificate, in PEM."},
	}
	rotate := func(kind string) []engines.Op {
		return []engines.Op{{Do: engines.Read, Trait: engines.Writes, Handler: e.rotateLists(kind), Ahead: e.signingLists(kind)}}
	}
	return []engines.Route{
		{Pattern: "revoke", Help: "Revoke a certificate.", Fields: which, Ops: write(e.revoke(false))},
		{
			Pattern: "revoke-with-key", Help: "Revoke a certificate of which one has the key.",
			Fields: slices.Concat(which, []engines.Field{{Name: "private_key", Help: "The private key, in PEM.", Secret: true}}), Ops: write(e.revoke(true)),
		},
		{Pattern: "crl/rotate", Help: "Sign the lists anew.", Ops: rotate(fullKind)},
		{Pattern: "crl/rotate-delta", Help: "Sign the delta lists anew.", Ops: rotate(deltaKind)},
		{Pattern: "tidy", Help: "Remove what has ended.", Fields: tidyFields(), Ops: write(tidy)},
		{Pattern: "tidy-status", Help: "What tidying does, or did last.", Ops: read(tidyStatus)},
		{Pattern: "tidy-cancel", Help: "Have tidying stop.", Ops: write(tidyCancel)},
	}
}

func (e *engine) configRoutes() []engines.Route {
	def := []engines.Field{{Name: "default", Help: "The default one."}}
	both := func(r, w engines.Handler) []engines.Op { return slices.Concat(read(r), write(w)) }
	return []engines.Route{
		{Pattern: "config/urls", Help: "Where others find issuers, lists and answers.", Fields: urlFields("enable_templating"), Ops: both(readURLs, writeURLs)},
		{Pattern: "config/crl", Help: "How lists are made.", Fields: crlFields(), Ops: both(readCRLConfig, e.writeCRLConfig)},
		{
			Pattern: "config/issuers", Help: "The default issuer.", Ops: both(readDefaultIssuer, e.writeDefaultIssuer),
			Fields: slices.Concat(def, []engines.Field{{Name: "default_follows_latest_issuer", Type: engines.Bool, Default: false, Help: "Make each new issuer the default."}}),
		},
		{Pattern: "config/keys", Help: "The default key.", Fields: def, Ops: both(e.readDefaultKey, e.writeDefaultKey)},
		{
			Pattern: "config/cluster", Help: "What templates of URLs are filled with.", Ops: both(readCluster, writeCluster),
			Fields: []engines.Field{{Name: "path", Help: "The URL of this mount."}, {Name: "aia_path", Help: "The URL of this mount for those who only read."}},
		},
		{Pattern: "config/auto-tidy", Help: "Tidying from time to time.", Fields: slices.Concat(tidyFields(), autoTidyFields()), Ops: both(readAutoTidy, writeAutoTidy)},
	}
}
