#!/usr/bin/env bash
# Makes a machine a node of the lab. It may run again: what is there stays.
#
#   NODE=coffer-1 ADDRESS=192.168.56.11   what this node is called, and reached at
#   PEERS="192.168.56.11 192.168.56.12"   the addresses of all nodes; the first founds
#   SEAL_KEY=/tmp/seal.key                32 bytes that unseal, the same on all
#   ROOT=/some/folder                     works below it instead of /, and starts nothing
#   SOURCE=/vagrant                       where the checkout is
set -euo pipefail
root=${ROOT:-}
source=${SOURCE:-/vagrant}
node=${NODE:?} address=${ADDRESS:?}
read -ra peers <<<"${PEERS:?}"

install -d -m 0755 "$root/usr/local/bin" "$root/etc/systemd/system"
install -m 0755 "$source/bin/coffer" "$root/usr/local/bin/coffer"
install -m 0644 "$source/deploy/systemd/coffer.service" "$root/etc/systemd/system/coffer.service"

owner=()
if [[ -z $root ]]; then
  id coffer >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin coffer
  owner=(-o coffer -g coffer)
fi
install -d -m 0750 "${owner[@]}" "$root/etc/coffer.d"
key="$root/etc/coffer.d/seal.key"
if [[ ! -e $key ]]; then
  install -m 0600 "${owner[@]}" "${SEAL_KEY:?}" "$key"
fi
if [[ -z $root ]]; then
  rm -f "$SEAL_KEY"
fi

# Everybody joins whoever is there; the founder has nobody to join.
joins() {
  local peer
  [[ $address != "${peers[0]}" ]] || return 0
  for peer in "${peers[@]}"; do
    if [[ $peer != "$address" ]]; then
      printf '  retry_join {\n    leader_api_addr = "http://%s:8200"\n  }\n' "$peer"
    fi
  done
}
{
  printf 'storage "raft" {\n  path    = "/var/lib/coffer"\n  node_id = "%s"\n' "$node"
  joins
  cat <<HCL
}
listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_disable     = true
}
seal "static" {
  current_key_id = "lab"
  current_key    = "file:///etc/coffer.d/seal.key"
}
api_addr     = "http://$address:8200"
cluster_addr = "https://$address:8201"
HCL
} >"$root/etc/coffer.d/coffer.hcl"
chmod 0640 "$root/etc/coffer.d/coffer.hcl"
if [[ -n $root ]]; then
  exit 0
fi
chgrp coffer "$root/etc/coffer.d/coffer.hcl"
systemctl daemon-reload
systemctl enable --now coffer
export COFFER_ADDR=http://127.0.0.1:8200
if [[ $address == "${peers[0]}" ]] && ! coffer operator init -status >/dev/null 2>&1; then
  # Lab only: the recovery keys and the root token stay on the machine.
  (umask 077 && coffer operator init -recovery-shares=1 -recovery-threshold=1 -format=json >/root/coffer-init.json)
  echo "The root token is in /root/coffer-init.json."
fi
