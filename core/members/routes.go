package members

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

// Routes returns what is served below sys/.
func (p *Pilot) Routes() []engines.Route {
	id := []engines.Field{field("server_id", engines.String, "The member's id."), {Name: "dr_operation_token", Type: engines.String, Help: "Accepted.", Secret: true}}
	writes := func(h handler) []engines.Op {
		return []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: whole(h)}}
	}
	return []engines.Route{
		{Pattern: "storage/raft/configuration", Help: "List the members of the cluster.", Ops: []engines.Op{{Do: engines.Read, Handler: whole(p.configuration)}}},
		{Pattern: "storage/raft/bootstrap", Help: "Refused: the storage is part of every node.", Ops: writes(bootstrap)},
		{Pattern: "storage/raft/remove-peer", Help: "Remove a member.", Fields: id, Ops: writes(p.remove)},
		{Pattern: "storage/raft/promote", Help: "Let a member vote.", Fields: id, Ops: writes(p.promote)},
		{Pattern: "storage/raft/demote", Help: "Do not let a member vote any more.", Fields: id, Ops: writes(p.demote)},
		{Pattern: "storage/raft/autopilot/state", Help: "Tell how the members are.", Ops: []engines.Op{{
			Do: engines.Read, Trait: engines.Writes, Handler: whole(p.state), // only the leader knows
		}}},
		{Pattern: "storage/raft/autopilot/configuration", Help: "Read or set what the leader does about members by itself.", Fields: []engines.Field{
			field("cleanup_dead_servers", engines.Bool, "Remove members that are dead."),
			field("dead_server_last_contact_threshold", engines.Seconds, "How long a member has to be silent to count as dead."),
			field("last_contact_threshold", engines.Seconds, "How long a healthy member may be silent."),
			field("max_trailing_logs", engines.Int, "How many entries a healthy member may be behind."),
			field("min_quorum", engines.Int, "How many voters have to be left when the dead are removed."),
			field("server_stabilization_time", engines.Seconds, "How long a newcomer has to be healthy until it votes."),
			field("disable_upgrade_migration", engines.Bool, "Accepted."),
			{Name: "dr_operation_token", Type: engines.String, Help: "Accepted.", Secret: true},
		}, Ops: []engines.Op{{Do: engines.Read, Handler: whole(readConfiguration)}, {Do: engines.Update, Trait: engines.Writes, Handler: whole(writeConfiguration)}}},
	}
}

type handler func(req *engines.Request, tx *state.Tx) (*engines.Response, error)

func whole(h handler) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}
}

func bootstrap(*engines.Request, *state.Tx) (*engines.Response, error) {
	return nil, engines.Invalidf("the storage is part of every node: initialise the first with sys/init, and let others join with sys/storage/raft/join")
}

func (p *Pilot) configuration(*engines.Request, *state.Tx) (*engines.Response, error) {
	status := p.deps.Status()
	servers := make([]map[string]any, 0, len(status.Members))
	for _, m := range status.Members {
		servers = append(servers, map[string]any{
			"node_id": m.ID, "address": m.Address, "leader": m.Leader, "voter": m.Voter, "protocol_version": "3",
		})
	}
	return &engines.Response{Data: map[string]any{"config": map[string]any{"index": status.Index, "servers": servers}}}, nil
}

// named finds the member that a request is about.
func (p *Pilot) named(req *engines.Request) (*Member, *Status, error) {
	id := req.Fields.String("server_id")
	if id == "" {
		return nil, nil, engines.Invalidf("no server id provided")
	}
	status := p.deps.Status()
	m := status.find(id)
	if m == nil || p.deps.Cluster == nil {
		return nil, nil, engines.Invalidf("there is no such member")
	}
	return m, &status, nil
}

// unavailable is a change of the membership that did not come about.
func unavailable(err error) error {
	var e *engines.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &engines.Error{Kind: engines.KindUnavailable, Message: "the membership could not be changed: this node may not lead any more", Cause: err}
}

func (p *Pilot) remove(req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	m, status, err := p.named(req)
	if err != nil {
		return nil, err
	}
	if m.Voter && status.voters() == 1 {
		return nil, engines.Invalidf("this is the only member that votes: without it there is no cluster")
	}
	return &engines.Response{Then: func(ctx context.Context) error { return unavailable(p.Remove(ctx, m.ID)) }}, nil
}

func (p *Pilot) promote(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	m, _, err := p.named(req)
	if err != nil {
		return nil, err
	}
	if err := joining.Choose(tx, m.ID, false); err != nil {
		return nil, err
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		return unavailable(p.change(ctx, func(ctx context.Context) error { return p.deps.Cluster.AddVoter(ctx, m.ID, m.Address) }))
	}}, nil
}

func (p *Pilot) demote(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	m, status, err := p.named(req)
	if err != nil {
		return nil, err
	}
	if m.Voter && status.voters() == 1 {
		return nil, engines.Invalidf("this is the only member that votes")
	}
	if err := joining.Choose(tx, m.ID, true); err != nil {
		return nil, err
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		return unavailable(p.change(ctx, func(ctx context.Context) error { return p.deps.Cluster.Demote(ctx, m.ID) }))
	}}, nil
}

func (p *Pilot) state(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	report, err := p.report(tx)
	if errors.Is(err, errFollows) {
		return nil, &engines.Error{Kind: engines.KindUnavailable, Message: "only the leader knows how the members are: ask it", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: report}, nil
}

func readConfiguration(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{
		"cleanup_dead_servers": c.CleanupDead, "dead_server_last_contact_threshold": c.DeadAfter.String(),
		"last_contact_threshold": c.Contact.String(), "max_trailing_logs": c.MaxTrailing, "min_quorum": c.MinQuorum,
		"server_stabilization_time": c.Stable.String(), "disable_upgrade_migration": c.NoUpgrades,
	}}, nil
}

func writeConfiguration(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	f := req.Fields
	for name, to := range map[string]*bool{"cleanup_dead_servers": &c.CleanupDead, "disable_upgrade_migration": &c.NoUpgrades} {
		if f.Has(name) {
			*to = f.Bool(name)
		}
	}
	for name, to := range map[string]*time.Duration{
		"dead_server_last_contact_threshold": &c.DeadAfter, "last_contact_threshold": &c.Contact, "server_stabilization_time": &c.Stable,
	} {
		if f.Has(name) {
			*to = f.Duration(name)
		}
	}
	if f.Has("max_trailing_logs") {
		n := f.Int("max_trailing_logs")
		if n < 0 {
			return nil, engines.Invalidf("max_trailing_logs must not be negative")
		}
		c.MaxTrailing = uint64(n)
	}
	if f.Has("min_quorum") {
		c.MinQuorum = f.Int("min_quorum")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	row, err := json.Marshal(c)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, tx.Put(configKey(), row, state.PutOptions{})
}
