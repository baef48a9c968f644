package raft

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// Env is the command line that the commands are part of.
type Env struct {
	// Remote makes a command that calls the server, Local one that does not, and
	// Group one that only has others below it.
	Remote func(use, short string, least, most int, run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command
	Local  func(use, short string, least, most int, run func(ctx context.Context, args []string) error) *cobra.Command
	Group  func(use, short string, children ...*cobra.Command) *cobra.Command
	// Show prints a value in the format asked for, Say a line for people.
	Show func(v any, table func() string) error
	Say  func(format string, args ...any) error
	// Titled is a table.
	Titled func(names []string, rows [][]string) string
	// Failed is an error that comes from the server, Usage one of the user's.
	Failed func(err error, format string, args ...any) error
	Usage  func(format string, args ...any) error
}

const base = "sys/storage/raft/"

type commands struct{ Env }

// Commands makes them.
func Commands(env Env) *cobra.Command {
	c := commands{env}
	return c.Group("raft", "Who is part of the cluster, and snapshots of it",
		c.listPeers(), c.join(), c.removePeer(), c.change("promote", "Let a member vote", "promoted"), c.change("demote", "Do not let a member vote any more", "demoted"),
		c.Group("autopilot", "What the leader does about members by itself", c.getConfig(), c.setConfig(), c.state()),
		c.Group("snapshot", "Save the cluster's state, and restore it", c.save(), c.restore(), c.inspect()),
	)
}

// read decodes the data of an answer.
func read(ctx context.Context, c *client.Client, path string, into any) error {
	var out struct {
		Data any `json:"data"`
	}
	out.Data = into
	resp, err := c.Do(ctx, &client.Request{Method: http.MethodGet, Path: path, Plain: true})
	if err != nil {
		return err
	}
	return resp.Decode(&out)
}

func write(ctx context.Context, c *client.Client, path string, body any) (*client.Response, error) {
	return c.Do(ctx, &client.Request{Method: http.MethodPost, Path: path, Body: body, Plain: true})
}

// peers is what sys/storage/raft/configuration answers.
type peers struct {
	Config struct {
		Index   uint64 `json:"index"`
		Servers []struct {
			ID       string `json:"node_id"`
			Address  string `json:"address"`
			Leader   bool   `json:"leader"`
			Voter    bool   `json:"voter"`
			Protocol string `json:"protocol_version"`
		} `json:"servers"`
	} `json:"config"`
}

func (c commands) listPeers() *cobra.Command {
	return c.Remote("list-peers [options]", "List the members of the cluster", 0, 0, func(ctx context.Context, cl *client.Client, _ []string) error {
		var out peers
		if err := read(ctx, cl, base+"configuration", &out); err != nil {
			return c.Failed(err, "Error reading the raft cluster configuration")
		}
		return c.Show(map[string]any{"data": out}, func() string {
			var rows [][]string
			for _, s := range out.Config.Servers {
				state := "follower"
				if s.Leader {
					state = "leader"
				}
				rows = append(rows, []string{s.ID, s.Address, state, fmt.Sprint(s.Voter)})
			}
			return c.Titled([]string{"Node", "Address", "State", "Voter"}, rows)
		})
	})
}

// joinFlags are those of raft join.
type joinFlags struct {
	caCert, clientCert, clientKey, serverName string
	retry, nonVoter                           bool
}

func (c commands) join() *cobra.Command {
	var f joinFlags
	cmd := c.Remote("join [options] LEADER-API-ADDR", "Make this node part of another one's cluster", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			return c.runJoin(ctx, cl, args[0], &f)
		})
	set := cmd.Flags()
	set.StringVar(&f.caCert, "leader-ca-cert", "", "Authority to trust, in PEM; @file reads it from a file.")
	set.StringVar(&f.clientCert, "leader-client-cert", "", "Certificate to show, in PEM; @file reads it from a file.")
	set.StringVar(&f.clientKey, "leader-client-key", "", "Its key, in PEM; @file reads it from a file.")
	set.StringVar(&f.serverName, "leader-tls-servername", "", "Name to expect in the node's certificate.")
	set.BoolVar(&f.retry, "retry", false, "Go on until it works.")
	set.BoolVar(&f.nonVoter, "non-voter", false, "Never vote.")
	cmd.Long = "Make this node part of the cluster of the node at LEADER-API-ADDR, which any of its nodes may be.\nThen unseal this node with that cluster's keys."
	return cmd
}

func (c commands) runJoin(ctx context.Context, cl *client.Client, address string, f *joinFlags) error {
	body := map[string]any{"leader_api_addr": address, "leader_tls_servername": f.serverName, "retry": f.retry, "non_voter": f.nonVoter}
	for name, text := range map[string]string{"leader_ca_cert": f.caCert, "leader_client_cert": f.clientCert, "leader_client_key": f.clientKey} {
		if path, ok := strings.CutPrefix(text, "@"); ok {
			content, err := os.ReadFile(path) // #nosec G304 -- named by the user
			if err != nil {
				return c.Usage("%s: %w", name, err)
			}
			text = string(content)
		}
		body[name] = text
	}
	resp, err := write(ctx, cl, base+"join", body)
	if err != nil {
		return c.Failed(err, "Error joining the node to the Raft cluster")
	}
	var out struct {
		Joined bool `json:"joined"`
	}
	if err := resp.Decode(&out); err != nil {
		return c.Failed(err, "Error joining the node to the Raft cluster")
	}
	return c.Show(out, func() string {
		return c.Titled([]string{"Key", "Value"}, [][]string{{"Joined", fmt.Sprint(out.Joined)}})
	})
}

func (c commands) removePeer() *cobra.Command {
	return c.Remote("remove-peer [options] SERVER-ID", "Remove a member from the cluster", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			if _, err := write(ctx, cl, base+"remove-peer", map[string]string{"server_id": args[0]}); err != nil {
				return c.Failed(err, "Error removing the peer from raft cluster")
			}
			return c.Say("Peer removed successfully!")
		})
}

func (c commands) change(verb, short, done string) *cobra.Command {
	return c.Remote(verb+" [options] SERVER-ID", short, 1, 1, func(ctx context.Context, cl *client.Client, args []string) error {
		if _, err := write(ctx, cl, base+verb, map[string]string{"server_id": args[0]}); err != nil {
			return c.Failed(err, "Error changing whether the peer votes")
		}
		return c.Say("Peer %s successfully!", done)
	})
}

// config is the autopilot's configuration.
type config struct {
	Cleanup    bool   `json:"cleanup_dead_servers"`
	Contact    string `json:"last_contact_threshold"`
	Dead       string `json:"dead_server_last_contact_threshold"`
	Stable     string `json:"server_stabilization_time"`
	MinQuorum  uint64 `json:"min_quorum"`
	Trailing   uint64 `json:"max_trailing_logs"`
	NoUpgrades bool   `json:"disable_upgrade_migration"`
}

func (c commands) getConfig() *cobra.Command {
	return c.Remote("get-config [options]", "Tell what the leader does about members by itself", 0, 0,
		func(ctx context.Context, cl *client.Client, _ []string) error {
			var out config
			if err := read(ctx, cl, base+"autopilot/configuration", &out); err != nil {
				return c.Failed(err, "Error reading the autopilot configuration")
			}
			return c.Show(out, func() string {
				return c.Titled([]string{"Key", "Value"}, [][]string{
					{"Cleanup Dead Servers", fmt.Sprint(out.Cleanup)}, {"Last Contact Threshold", out.Contact},
					{"Dead Server Last Contact Threshold", out.Dead}, {"Server Stabilization Time", out.Stable},
					{"Min Quorum", fmt.Sprint(out.MinQuorum)}, {"Max Trailing Logs", fmt.Sprint(out.Trailing)},
					{"Disable Upgrade Migration", fmt.Sprint(out.NoUpgrades)},
				})
			})
		})
}

func (c commands) setConfig() *cobra.Command {
	var cleanup, noUpgrades bool
	var contact, dead, stable string
	var quorum, trailing uint64
	var cmd *cobra.Command
	cmd = c.Remote("set-config [options]", "Say what the leader does about members by itself", 0, 0,
		func(ctx context.Context, cl *client.Client, _ []string) error {
			body := make(map[string]any)
			for name, value := range map[string]any{
				"cleanup-dead-servers": cleanup, "last-contact-threshold": contact, "dead-server-last-contact-threshold": dead,
				"server-stabilization-time": stable, "min-quorum": quorum, "max-trailing-logs": trailing, "disable-upgrade-migration": noUpgrades,
			} {
				if cmd.Flags().Changed(name) {
					body[strings.ReplaceAll(name, "-", "_")] = value
				}
			}
			if len(body) == 0 {
				return c.Usage("Nothing to set: see -help for what there is.")
			}
			if _, err := write(ctx, cl, base+"autopilot/configuration", body); err != nil {
				return c.Failed(err, "Error setting the autopilot configuration")
			}
			return c.Say("Success! The autopilot was configured.")
		})
	set := cmd.Flags()
	set.BoolVar(&cleanup, "cleanup-dead-servers", false, "Remove members that are dead.")
	set.StringVar(&contact, "last-contact-threshold", "", "How long a healthy member may be silent.")
	set.StringVar(&dead, "dead-server-last-contact-threshold", "", "How long a member has to be silent to count as dead.")
	set.StringVar(&stable, "server-stabilization-time", "", "How long a newcomer has to be healthy until it votes.")
	set.Uint64Var(&quorum, "min-quorum", 0, "How many voters have to be left when the dead are removed.")
	set.Uint64Var(&trailing, "max-trailing-logs", 0, "How many entries a healthy member may be behind.")
	set.BoolVar(&noUpgrades, "disable-upgrade-migration", false, "Accepted.")
	return cmd
}

// health is what sys/storage/raft/autopilot/state answers.
type health struct {
	Healthy   bool              `json:"healthy"`
	Tolerance int               `json:"failure_tolerance"`
	Leader    string            `json:"leader"`
	Voters    []string          `json:"voters"`
	NonVoters []string          `json:"non_voters,omitempty"`
	Servers   map[string]server `json:"servers"`
}

type server struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Address     string `json:"address"`
	Status      string `json:"status"`
	NodeStatus  string `json:"node_status"`
	Healthy     bool   `json:"healthy"`
	LastContact string `json:"last_contact"`
	LastTerm    uint64 `json:"last_term"`
	LastIndex   uint64 `json:"last_index"`
	StableSince string `json:"stable_since"`
	Version     string `json:"version"`
	NodeType    string `json:"node_type"`
}

func (c commands) state() *cobra.Command {
	return c.Remote("state [options]", "Tell how the members are, as the leader sees them", 0, 0,
		func(ctx context.Context, cl *client.Client, _ []string) error {
			var out health
			if err := read(ctx, cl, base+"autopilot/state", &out); err != nil {
				return c.Failed(err, "Error reading the autopilot state")
			}
			return c.Show(out, out.text)
		})
}

func (h *health) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Healthy:                         %t\nFailure Tolerance:               %d\nLeader:                          %s\nVoters:\n", h.Healthy, h.Tolerance, h.Leader)
	for _, id := range h.Voters {
		fmt.Fprintf(&b, "   %s\n", id)
	}
	if len(h.NonVoters) > 0 {
		b.WriteString("Non Voters:\n")
		for _, id := range h.NonVoters {
			fmt.Fprintf(&b, "   %s\n", id)
		}
	}
	b.WriteString("Servers:\n")
	for _, id := range slices.Sorted(maps.Keys(h.Servers)) {
		s := h.Servers[id]
		fmt.Fprintf(&b, "   %s\n", id)
		for _, row := range [][2]string{
			{"Name:", s.Name}, {"Address:", s.Address}, {"Status:", s.Status}, {"Node Status:", s.NodeStatus}, {"Healthy:", fmt.Sprint(s.Healthy)},
			{"Last Contact:", s.LastContact}, {"Last Term:", fmt.Sprint(s.LastTerm)}, {"Last Index:", fmt.Sprint(s.LastIndex)},
			{"Version:", s.Version}, {"Node Type:", s.NodeType},
		} {
			fmt.Fprintf(&b, "      %-17s %s\n", row[0], row[1])
		}
	}
	return b.String()
}
