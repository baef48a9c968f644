package issued

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	// leastGrace is longer than making anything can take, so that nothing is
	// taken for left behind that is only on its way.
	leastGrace   = 2 * (engines.MaxWithin + slack)
	defaultGrace = time.Hour
	// maxShown bounds what a report names of each kind.
	maxShown = 100
	// reconcileWithin bounds the look at a target.
	reconcileWithin = time.Minute

	// reportDir is below the table of settings.
	reportDir = "reconcile/"
)

// report tells how what stands at a target differs from the leases.
type report struct {
	Mount  string    `json:"mount"`
	Target string    `json:"target"`
	Time   time.Time `json:"time"`
	// Found is how much stands there with a mark of the mount's, and Others how
	// much has a mark that is not.
	Found  int `json:"found"`
	Others int `json:"others"`
	// Unleased is what no lease is for, and Removable how much of that has been
	// there for longer than the grace time.
	Unleased      int      `json:"unleased"`
	Removable     int      `json:"removable"`
	UnleasedNames []string `json:"unleased_names"`
	// Missing is how many live leases there are whose thing is not found, or has no
	// mark.
	Missing    int      `json:"missing"`
	MissingIDs []string `json:"missing_lease_ids"`
	Removed    int      `json:"removed"`
	DryRun     bool     `json:"dry_run"`
}

func (s *Issued) reconcileRoutes() []engines.Route {
	return []engines.Route{{
		Pattern: "leases/reconcile", Help: "Compare what stands at a target with the leases for it.", Sudo: true,
		Fields: []engines.Field{
			{Name: "mount", Type: engines.String, Help: "Path of the mount."},
			{Name: "target", Type: engines.String, Help: "The target, such as a connection's name."},
			{Name: "dry_run", Type: engines.Bool, Default: true, Help: "Only tell; false removes what no lease is for and is older than grace."},
			{Name: "grace", Type: engines.Seconds, Default: defaultGrace, Help: "How long ago it was issued at least."},
		},
		Ops: []engines.Op{
			{Do: engines.Read, Handler: whole(s.reports)},
			{Do: engines.Update, Trait: engines.Writes, Ahead: s.compareAhead, Handler: whole(s.reconcile)},
		},
	}}
}

// compared is a report, and what could be removed.
type compared struct {
	report report
	mount  *mounts.Mounted
	remove []engines.Revocation
}

func (s *Issued) compareAhead(_ context.Context, req *engines.Request, in engines.Tx) (func(ctx context.Context) (any, error), error) {
	tx := in.(*state.Region).Tx() //nolint:forcetypeassert // as whole
	path, target := strings.Trim(req.Fields.String("mount"), "/")+"/", req.Fields.String("target")
	grace := req.Fields.Duration("grace")
	switch {
	case path == "/" || target == "":
		return nil, engines.Invalidf("say which mount and target: for a database, target is the connection's name")
	case grace < leastGrace:
		return nil, engines.Invalidf("grace: at least %s, for things may be on their way", leastGrace)
	}
	router, err := s.deps.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	m, ok := router.Get(path)
	if !ok || m.Engine == nil {
		return nil, engines.Invalidf("there is no mount at %s", path)
	}
	if m.Engine.Marked == nil {
		return nil, engines.Invalidf("what mounts of type %s make cannot be found at their targets", m.Type)
	}
	store := tx.Store()
	return func(ctx context.Context) (any, error) { return s.compared(ctx, store, m, target, grace) }, nil
}

// compared compares what a target tells with the leases.
func (s *Issued) compared(ctx context.Context, store *state.Store, m *mounts.Mounted, target string, grace time.Duration) (*compared, error) {
	ctx, cancel := context.WithTimeout(ctx, reconcileWithin)
	defer cancel()
	began := store.Now()
	found, err := m.Engine.Marked(ctx, s.reach(store, m), target)
	var known *engines.Error
	if err != nil && !errors.As(err, &known) {
		err = &engines.Error{Kind: engines.KindUpstream, Message: "the target does not tell what there is", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	out := &compared{mount: m, report: report{Mount: m.Path, Target: target, Time: began, UnleasedNames: []string{}, MissingIDs: []string{}}}
	// What has been made for a lease had it before: a lease that is not there by
	// now is there no more.
	return out, store.View(ctx, func(tx *state.Tx) error { return s.compare(tx, out, found, grace) })
}

// compare sets what was found against the leases.
func (s *Issued) compare(tx *state.Tx, out *compared, found []engines.Found, grace time.Duration) error {
	rep := &out.report
	left := make(map[string]int, len(found)) // by the digest of the lease, where in found
	marks := make([]mark, len(found))
	for i := range found {
		m, own := readMark(s.deps.MarkKey, out.mount.Accessor, rep.Target, &found[i])
		if !own {
			rep.Others++
			continue
		}
		rep.Found++
		marks[i], left[m.lease] = m, i
	}
	err := walk(tx, "", func(id string) error {
		digest := leaseDigest(id)
		if _, ok := left[digest]; ok { // as long as there is a lease, it sees to that
			delete(left, digest)
			return nil
		}
		r, err := peek(tx, id)
		if err != nil || r == nil || r.Mount != out.mount.Accessor || r.Target != rep.Target || r.Phase != live || !r.Issued.Before(rep.Time) {
			return err
		}
		if rep.Missing++; len(rep.MissingIDs) < maxShown {
			rep.MissingIDs = append(rep.MissingIDs, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range left {
		rep.Unleased++
		rep.UnleasedNames = append(rep.UnleasedNames, found[i].Name)
		if rep.Time.Sub(marks[i].at()) >= grace {
			out.remove = append(out.remove, engines.Revocation{Target: rep.Target, Undo: found[i].Undo})
		}
	}
	rep.Removable = len(out.remove)
	slices.Sort(rep.UnleasedNames)
	rep.UnleasedNames = rep.UnleasedNames[:min(len(rep.UnleasedNames), maxShown)]
	return nil
}

func reportKey(mount, target string) []byte {
	sum := sha256.Sum256([]byte(mount + "\x00" + target))
	return state.Key(state.Config, state.RootNamespace, []byte(reportDir), sum[:])
}

// put keeps the report as the last of its target.
func (r *report) put(tx *state.Tx, mount string) error {
	value, err := json.Marshal(r)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(reportKey(mount, r.Target), value, state.PutOptions{})
}

// reconcile keeps the report, and removes what no lease is for if it is asked to.
func (s *Issued) reconcile(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	out, ok := req.Ahead.(*compared)
	if !ok {
		return nil, engines.ErrStale
	}
	rep := out.report
	rep.DryRun = req.Fields.Bool("dry_run")
	if !rep.DryRun {
		held, err := heldOf(tx)
		if err != nil {
			return nil, err
		}
		if held != nil {
			return nil, engines.Invalidf("a snapshot was restored, which does not know of all leases: nothing is removed until sys/leases/release")
		}
	}
	if err := rep.put(tx, out.mount.Accessor); err != nil {
		return nil, err
	}
	resp := &engines.Response{Data: &rep}
	if store := tx.Store(); !rep.DryRun {
		resp.Then = func(ctx context.Context) error { return s.removeFound(ctx, store, out, &rep) }
	}
	return resp, nil
}

// removeFound removes what no lease is for.
func (s *Issued) removeFound(ctx context.Context, store *state.Store, out *compared, rep *report) error {
	reach := s.reach(store, out.mount)
	var problems []error
	for some := range slices.Chunk(out.remove, undoBatch) {
		within, cancel := context.WithTimeout(ctx, undoWithin)
		failed := out.mount.Engine.Revoke(within, reach, some)
		cancel()
		rep.Removed += len(some)
		for _, err := range failed {
			if err != nil {
				rep.Removed--
				problems = append(problems, err)
			}
		}
	}
	if len(problems) > 0 {
		return engines.Errorf(engines.KindUpstream, "%d of %d could not be removed, the first: %s", len(problems), len(out.remove), problems[0])
	}
	return nil
}

// reports tells what was found last.
func (s *Issued) reports(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	list := []json.RawMessage{}
	err := tx.Scan(state.Key(state.Config, state.RootNamespace, []byte(reportDir)), func(_ []byte, row *state.Row) error {
		list = append(list, row.Value)
		return nil
	})
	return &engines.Response{Data: map[string]any{"reports": list}}, err
}
