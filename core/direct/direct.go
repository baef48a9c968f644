package direct

import (
	"context"
	"slices"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// Table returns the routes, relative to the system's mount. Their handlers are
// never called.
func Table() *engines.Table {
	return &engines.Table{Help: "Paths that a node answers by itself.", Routes: slices.Concat(
		stateRoutes(), rootRoutes(), rekeyRoutes(), rotateRoutes(), nodeRoutes(), raftRoutes(), snapshotRoutes(),
	)}
}

// Help explains one of the routes, as schema.Help does.
func Help(path string) (map[string]any, bool) {
	c, err := schema.Compile(Table())
	if err != nil {
		return nil, false
	}
	return schema.Help(c, path)
}

func elsewhere(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
	return nil, engines.NotFound()
}

func op(does engines.Operation, help string) engines.Op {
	return engines.Op{Do: does, Handler: elsewhere, Help: help}
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

func secret(name, help string) engines.Field {
	return engines.Field{Name: name, Type: engines.String, Help: help, Secret: true}
}

// query is a field that deletions take from the query too.
func query(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help, Query: true}
}

func stateRoutes() []engines.Route {
	code := func(name, when string) engines.Field {
		return query(name, engines.Int, "Status to answer "+when+".")
	}
	return []engines.Route{
		{Pattern: "health", Help: "Tell what the node is, by status.", Public: true, Fields: []engines.Field{
			query("standbyok", engines.Bool, "Answer as the active node would."), query("perfstandbyok", engines.Bool, "As standbyok."),
			code("activecode", "if the node leads"), code("standbycode", "if it does not"), code("sealedcode", "if it is sealed"), code("uninitcode", "if it is not initialised"),
		}, Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "init", Help: "Initialise the cluster.", Public: true, Fields: []engines.Field{
			field("secret_shares", engines.Int, "Number of key shares."), field("secret_threshold", engines.Int, "Number of shares that unseal."),
			field("pgp_keys", engines.Strings, "PGP keys to encrypt the shares to."), field("root_token_pgp_key", engines.String, "PGP key to encrypt the root token to."),
			field("recovery_shares", engines.Int, "Number of shares of the recovery key, with auto-unseal."),
			field("recovery_threshold", engines.Int, "Number of them that authorise."), field("recovery_pgp_keys", engines.Strings, "PGP keys to encrypt them to."),
			field("stored_shares", engines.Int, "Accepted."),
		}, Ops: []engines.Op{op(engines.Read, "Tell whether the cluster is initialised."), op(engines.Update, "")}},
		{Pattern: "seal-status", Help: "Tell whether the node is sealed.", Public: true, Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "unseal", Help: "Submit a key share.", Public: true, Fields: []engines.Field{
			secret("key", "One key share."), field("reset", engines.Bool, "Forget the shares submitted so far."), field("migrate", engines.Bool, "Accepted."),
		}, Ops: []engines.Op{op(engines.Update, "")}},
		{Pattern: "leader", Help: "Tell which node leads.", Public: true, Ops: []engines.Op{op(engines.Read, "")}},
	}
}

// part is a step of a ceremony: one share.
func part(noun string) []engines.Field {
	return []engines.Field{secret("key", "One key share"+noun+"."), field("nonce", engines.String, "The nonce of the attempt.")}
}

func attempt(fields ...engines.Field) []engines.Field {
	return append(fields, query("nonce", engines.String, "The nonce of the attempt, to cancel it."))
}

func attemptOps() []engines.Op {
	return []engines.Op{op(engines.Read, "Tell of the attempt."), op(engines.Update, "Start an attempt."), op(engines.Delete, "Cancel the attempt.")}
}

func rootRoutes() []engines.Route {
	const help = "Make a root token with key shares."
	start := attempt(field("otp", engines.String, "What the token shall be encoded with; made if empty."), field("pgp_key", engines.String, "PGP key to encrypt the token to."))
	submit := []engines.Op{op(engines.Update, "Submit a key share.")}
	return []engines.Route{
		{Pattern: "generate-root", Help: help, Fields: start, Ops: attemptOps()},
		{Pattern: "generate-root/attempt", Help: help, Public: true, Fields: start, Ops: attemptOps()},
		{Pattern: "generate-root/update", Help: help, Public: true, Fields: part(""), Ops: submit},
		{Pattern: "generate-root-token/attempt", Help: help, Fields: start, Ops: attemptOps()},
		{Pattern: "generate-root-token/update", Help: help, Fields: part(""), Ops: submit},
	}
}

func ceremony(name, help string, public bool) []engines.Route {
	start := attempt(
		field("secret_shares", engines.Int, "Number of new shares."), field("secret_threshold", engines.Int, "Number of them that count."),
		field("pgp_keys", engines.Strings, "PGP keys to encrypt the shares to."),
		field("backup", engines.Bool, "Keep the encrypted shares."),
		// Vault's Go client spells it with a capital.
		field("Backup", engines.Bool, "Keep the encrypted shares."),
		// Old shares live until the new ones are proven, unless a client says otherwise.
		engines.Field{Name: "require_verification", Type: engines.Bool, Default: true, Help: "Let the new shares count only once they are verified."},
		field("stored_shares", engines.Int, "Accepted."),
	)
	return []engines.Route{
		{Pattern: name + "/init", Help: help, Public: public, Fields: start, Ops: attemptOps()},
		{Pattern: name + "/update", Help: help, Public: public, Fields: part(" of the present key"), Ops: []engines.Op{op(engines.Update, "Submit a key share.")}},
		{Pattern: name + "/verify", Help: help, Public: public, Fields: part(" of the new key"), Ops: []engines.Op{
			op(engines.Read, "Tell of the verification."), op(engines.Update, "Submit a new share."), op(engines.Delete, "Begin the verification again."),
		}},
	}
}

func backup(pattern string) engines.Route {
	return engines.Route{Pattern: pattern, Help: "The encrypted shares that were kept.", Ops: []engines.Op{op(engines.Read, ""), op(engines.Delete, "")}}
}

func rekeyRoutes() []engines.Route {
	return slices.Concat(
		ceremony("rekey", "Make new key shares.", true), ceremony("rekey-recovery-key", "Make new shares of the recovery key.", true),
		[]engines.Route{backup("rekey/backup"), backup("rekey/recovery-key-backup"), backup("rekey/recovery-backup")},
	)
}

func rotateRoutes() []engines.Route {
	return slices.Concat(
		ceremony("rotate/root", "Make a new root key, and new shares.", false), ceremony("rotate/recovery", "Make new shares of the recovery key.", false),
		[]engines.Route{backup("rotate/root/backup"), backup("rotate/recovery/backup")},
	)
}

func nodeRoutes() []engines.Route {
	const profile = "Profile the node."
	list := []engines.Route{
		{Pattern: "in-flight-req", Help: "List the requests that the node is answering.", Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "monitor", Help: "Follow the node's log.", Fields: []engines.Field{
			{Name: "log_level", Type: engines.String, Default: "info", Help: "Least level of what is shown.", Allowed: []string{"trace", "debug", "info", "warn", "error"}},
			{Name: "log_format", Type: engines.String, Default: "standard", Help: "Form of what is shown.", Allowed: []string{"standard", "json"}},
		}, Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "pprof", Help: "List the profiles.", Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "pprof/cmdline", Help: "Tell how the process was started.", Ops: []engines.Op{op(engines.Read, "")}},
		{Pattern: "pprof/symbol", Help: "Name program counters.", Ops: []engines.Op{op(engines.Read, "")}},
	}
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		list = append(list, engines.Route{Pattern: "pprof/" + name, Help: profile, Fields: []engines.Field{
			field("debug", engines.Int, "Form of the profile: 1 for text."), field("gc", engines.Int, "Collect garbage first."), field("seconds", engines.Int, "Length of a difference."),
		}, Ops: []engines.Op{op(engines.Read, "")}})
	}
	for _, name := range []string{"profile", "trace"} {
		list = append(list, engines.Route{Pattern: "pprof/" + name, Help: profile, Fields: []engines.Field{
			field("seconds", engines.Int, "How long to look."),
		}, Ops: []engines.Op{op(engines.Read, "")}})
	}
	return list
}
