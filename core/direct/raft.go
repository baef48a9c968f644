package direct

import "github.com/coffer-secrets/coffer/engines"

// raftRoutes are those of joining, which a node answers that is part of nothing
// yet, and those of snapshots, which are streams.
func raftRoutes() []engines.Route {
	ask := []engines.Op{op(engines.Update, "")}
	return []engines.Route{
		{Pattern: "storage/raft/bootstrap/challenge", Help: "Ask for what a node needs to join.", Public: true, Fields: []engines.Field{
			field("server_id", engines.String, "The id of the node that wants to join."),
		}, Ops: ask},
		{Pattern: "storage/raft/bootstrap/answer", Help: "Show that a node can unseal, to become a member.", Public: true, Fields: []engines.Field{
			secret("answer", "What the node proves, sealed, in base64."),
		}, Ops: ask},
		{Pattern: "storage/raft/join", Help: "Join the cluster of another node.", Public: true, Fields: []engines.Field{
			field("leader_api_addr", engines.String, "Where a node of the cluster answers, as a URL."),
			field("leader_ca_cert", engines.String, "Certificate, in PEM, of the authority to trust."),
			field("leader_client_cert", engines.String, "Certificate, in PEM, to show."), secret("leader_client_key", "Key of that certificate, in PEM."),
			field("leader_tls_servername", engines.String, "Name to expect in the node's certificate."),
			field("retry", engines.Bool, "Go on until it works."), field("non_voter", engines.Bool, "Never vote."),
			field("auto_join", engines.String, "Refused: name a node."), field("auto_join_scheme", engines.String, "Accepted."),
			field("auto_join_port", engines.Int, "Accepted."),
		}, Ops: ask},
	}
}

// snapshotRoutes take and give the state as a stream.
func snapshotRoutes() []engines.Route {
	const format = "A gzipped tar."
	return []engines.Route{
		{Pattern: "storage/raft/snapshot", Help: "Save the state of the cluster, or restore it.", Description: format, Ops: []engines.Op{
			op(engines.Read, "Save the state."), op(engines.Update, "Restore a snapshot of this cluster; on a node that is not initialised, begin a cluster with one."),
		}},
		{Pattern: "storage/raft/snapshot-force", Help: "Restore a snapshot whoever made it.", Description: format, Ops: []engines.Op{op(engines.Update, "")}},
	}
}
