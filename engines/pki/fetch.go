package pki

import (
	"slices"

	"github.com/coffer-secrets/coffer/engines"
)

// public makes a route that needs no token: who checks a certificate has none.
func public(pattern, help string, fields []engines.Field, h engines.Handler) engines.Route {
	return engines.Route{Pattern: pattern, Help: help, Public: true, Fields: fields, Ops: read(h)}
}

func (e *engine) fetchRoutes() []engines.Route {
	serial := []engines.Field{{Name: "serial", Help: "The serial number."}}
	out := []engines.Route{
		public("ca", "The default issuer's certificate, in DER.", nil, e.readDefaultCA(false)),
		public("ca/pem", "The default issuer's certificate, in PEM.", nil, e.readDefaultCA(true)),
		public("ca_chain", "The default issuer's chain, in PEM.", nil, e.readChain),
		public("cert/ca", "The default issuer's certificate.", nil, e.readCA(false)),
		public("cert/ca_chain", "The default issuer's chain.", nil, e.readCA(true)),
		public("cert/crl", "The default issuer's list.", nil, e.readCRL(fullKind, asJSON)),
		public("cert/delta-crl", "The default issuer's delta list.", nil, e.readCRL(deltaKind, asJSON)),
		public("cert/{serial}", "A certificate.", serial, e.readCertificate),
		public("cert/{serial}/raw", "A certificate, in DER.", serial, e.readCertificateRaw(false)),
		public("cert/{serial}/raw/pem", "A certificate, in PEM.", serial, e.readCertificateRaw(true)),
		public("crl", "The default issuer's list, in DER.", nil, e.readCRL(fullKind, asDER)),
		public("crl/pem", "The default issuer's list, in PEM.", nil, e.readCRL(fullKind, asPEM)),
		public("crl/delta", "The default issuer's delta list, in DER.", nil, e.readCRL(deltaKind, asDER)),
		public("crl/delta/pem", "The default issuer's delta list, in PEM.", nil, e.readCRL(deltaKind, asPEM)),
		{
			Pattern: "ocsp", Help: "Ask what became of a certificate, by OCSP.", Public: true,
			Fields: []engines.Field{{Name: "req", Help: "The request: the body, or here in base64."}},
			Ops:    []engines.Op{{Do: engines.Update, Trait: engines.Reads, Handler: e.answerOCSP}},
		},
		public("ocsp/{req...}", "Ask what became of a certificate, by OCSP.", []engines.Field{{Name: "req", Help: "The request in base64."}}, e.answerOCSP),
		{Pattern: "certs", Help: "List the certificates.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: listPages(certDir)}}},
		{Pattern: "certs/detailed", Help: "List certificates with what is in them.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: listDetailed}}},
		{Pattern: "certs/revoked", Help: "List the revoked certificates.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: listPages(revokedDir)}}},
	}
	return out
}

func (e *engine) issuerRoutes() []engines.Route {
	ref := issuerField(true)
	settings := slices.Concat(ref, issuerFields(), urlFields("enable_aia_url_templating"))
	out := []engines.Route{
		{Pattern: "issuers", Help: "List the issuers.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: e.listIssuers}}},
		{
			Pattern: "issuer/{issuer_ref}", Help: "Read, change and delete an issuer.", Fields: settings,
			Ops: []engines.Op{
				{Do: engines.Read, Handler: e.readIssuer},
				{Do: engines.Update, Trait: engines.Writes, Handler: e.writeIssuer(true), Help: "Write its settings whole."},
				{Do: engines.Patch, Trait: engines.Writes, Handler: e.writeIssuer(false), Help: "Change what is given."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteIssuer},
			},
		},
		public("issuer/{issuer_ref}/json", "An issuer's certificate.", ref, e.issuerJSON),
		public("issuer/{issuer_ref}/der", "An issuer's certificate, in DER.", ref, e.issuerRaw(false)),
		public("issuer/{issuer_ref}/pem", "An issuer's certificate, in PEM.", ref, e.issuerRaw(true)),
		{Pattern: "issuer/{issuer_ref}/revoke", Help: "Revoke an issuer: it issues no more.", Fields: ref, Ops: write(e.revokeIssuer)},
		{
			Pattern: "issuer/{issuer_ref}/resign-crls", Help: "Sign lists of others with the same key as one.",
			Fields: slices.Concat(ref, signListFields(), []engines.Field{{Name: "crls", Type: engines.Strings, Whole: true, Help: "The lists, in PEM."}}), Ops: signs(e.resignLists, nil),
		},
		{
			Pattern: "issuer/{issuer_ref}/sign-revocation-list", Help: "Sign a list of what is given.",
			Fields: slices.Concat(ref, signListFields(), []engines.Field{
				{Name: "revoked_certs", Type: engines.JSON, Help: "Objects with serial_number, revocation_time and extensions."},
				{Name: "extensions", Type: engines.JSON, Help: "Objects with id, critical and value in base64."},
			}), Ops: signs(e.signList, nil),
		},
	}
	for _, kind := range []struct{ path, kind, help string }{{"", fullKind, "An issuer's list"}, {"/delta", deltaKind, "An issuer's delta list"}} {
		path := "issuer/{issuer_ref}/crl" + kind.path
		out = append(out,
			public(path, kind.help+".", ref, e.readCRL(kind.kind, asCRL)),
			public(path+"/der", kind.help+", in DER.", ref, e.readCRL(kind.kind, asDER)),
			public(path+"/pem", kind.help+", in PEM.", ref, e.readCRL(kind.kind, asPEM)),
		)
	}
	return out
}
