# An example: one node with TLS. Check it with
#   coffer server -config=/etc/coffer.d/coffer.hcl -test-config

storage "raft" {
  path = "/var/lib/coffer"

  # Names the node for ever. Made up, and kept, if it is not set.
  # node_id = "coffer-1"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/coffer.d/tls/cert.pem"
  tls_key_file  = "/etc/coffer.d/tls/key.pem"

  # Prometheus has no token: let it in from here only if the network is trusted.
  # telemetry {
  #   unauthenticated_metrics_access = true
  # }
}

# For programs on this machine.
listener "unix" {
  address     = "/run/coffer/coffer.sock"
  socket_mode = "0660"
}

# Where clients and peers reach this node.
api_addr     = "https://coffer-1.example.com:8200"
cluster_addr = "https://coffer-1.example.com:8201"

# Without a seal stanza, the node is unsealed with key shares after each start.
# The key below has to be kept apart from the data: whoever has both has it all.
#   openssl rand -out /etc/coffer.d/seal.key 32 && chmod 600 /etc/coffer.d/seal.key
# seal "static" {
#   current_key_id = "2026-1"
#   current_key    = "file:///etc/coffer.d/seal.key"
# }

default_lease_ttl = "768h"
max_lease_ttl     = "768h"
log_level         = "info"
