package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// nodeStatus is what status prints: the seal, and who leads.
type nodeStatus struct {
	client.SealStatus
	HAEnabled          bool   `json:"ha_enabled"`
	IsSelf             bool   `json:"is_self,omitempty"`
	ActiveTime         string `json:"active_time,omitempty"`
	LeaderAddress      string `json:"leader_address,omitempty"`
	LeaderCluster      string `json:"leader_cluster_address,omitempty"`
	PerfStandby        bool   `json:"performance_standby,omitempty"`
	RaftCommittedIndex uint64 `json:"raft_committed_index,omitempty"`
	RaftAppliedIndex   uint64 `json:"raft_applied_index,omitempty"`
}

// statusCommand exits with 0 if the server is unsealed, 2 if it is sealed, and 1
// if it cannot tell.
func (a *app) statusCommand() *cobra.Command {
	cmd := a.remote("status [options]", "Tell whether the server is sealed, and who leads", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			seal, err := c.SealStatus(ctx)
			if err != nil {
				return &exit{code: exitUsage, err: remotef(err, "Error checking seal status")}
			}
			if err := a.printStatus(ctx, c, seal); err != nil {
				return err
			}
			if seal.Sealed {
				return silent(exitRemote)
			}
			return nil
		})
	cmd.Long = "Tell whether the server is sealed, and who leads.\n\nThe exit code is 0 if it is unsealed, 2 if it is sealed, and 1 if it cannot be asked."
	return a.withField(cmd)
}

// printStatus asks an unsealed server who leads; a sealed one does not say.
func (a *app) printStatus(ctx context.Context, c *client.Client, seal *client.SealStatus) error {
	out := &nodeStatus{SealStatus: *seal}
	if !seal.Sealed {
		leader, err := c.Leader(ctx)
		if err != nil {
			return &exit{code: exitUsage, err: remotef(err, "Error checking leader status")}
		}
		out.HAEnabled, out.IsSelf, out.PerfStandby = leader.HAEnabled, leader.IsSelf, leader.PerfStandby
		out.LeaderAddress, out.LeaderCluster = leader.LeaderAddress, leader.LeaderClusterAddress
		out.RaftCommittedIndex, out.RaftAppliedIndex = leader.RaftCommittedIndex, leader.RaftAppliedIndex
		if leader.IsSelf && !leader.ActiveTime.IsZero() {
			out.ActiveTime = leader.ActiveTime.UTC().Format(time.RFC3339Nano)
		}
	}
	if a.opts.field != "" {
		fields, err := asMap(out)
		if err != nil {
			return err
		}
		return a.fieldIn(fields)
	}
	return a.show(out, func() string { return keyValue(append(sealRows(seal), leaderRows(out)...)) })
}

func sealRows(s *client.SealStatus) [][]string {
	yes := strconv.FormatBool
	rows := [][]string{{"Seal Type", s.Type}}
	prefix := ""
	if s.RecoverySeal {
		prefix = "Recovery "
		rows = append(rows, []string{"Recovery Seal Type", s.RecoverySealType})
	}
	rows = append(rows,
		[]string{"Initialized", yes(s.Initialized)}, []string{"Sealed", yes(s.Sealed)},
		[]string{"Total " + prefix + "Shares", strconv.Itoa(s.Shares)}, []string{"Threshold", strconv.Itoa(s.Threshold)},
	)
	if s.Sealed {
		rows = append(rows,
			[]string{"Unseal Progress", strconv.Itoa(s.Progress) + "/" + strconv.Itoa(s.Threshold)}, []string{"Unseal Nonce", s.Nonce})
	}
	if s.Migration {
		rows = append(rows, []string{"Seal Migration in Progress", yes(s.Migration)})
	}
	rows = append(rows, []string{"Version", s.Version}, []string{"Build Date", s.BuildDate}, []string{"Storage Type", s.StorageType})
	if s.ClusterName != "" && s.ClusterID != "" {
		rows = append(rows, []string{"Cluster Name", s.ClusterName}, []string{"Cluster ID", s.ClusterID})
	}
	return rows
}

func leaderRows(s *nodeStatus) [][]string {
	rows := [][]string{{"HA Enabled", strconv.FormatBool(s.HAEnabled)}}
	if !s.HAEnabled || s.Sealed {
		return rows
	}
	rows = append(rows, []string{"HA Cluster", s.LeaderCluster})
	if s.IsSelf {
		rows = append(rows, []string{"HA Mode", "active"}, []string{"Active Since", s.ActiveTime})
	} else {
		address := s.LeaderAddress
		if address == "" {
			address = "<none>"
		}
		rows = append(rows, []string{"HA Mode", "standby"}, []string{"Active Node Address", address})
	}
	if s.RaftCommittedIndex > 0 {
		rows = append(rows, []string{"Raft Committed Index", strconv.FormatUint(s.RaftCommittedIndex, 10)})
	}
	if s.RaftAppliedIndex > 0 {
		rows = append(rows, []string{"Raft Applied Index", strconv.FormatUint(s.RaftAppliedIndex, 10)})
	}
	return rows
}
