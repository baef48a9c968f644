#!/usr/bin/env bash
# Makes a machine a node of the lab. It may run again: what is there stays.
#
#   ROOT=/some/folder   works below a folder instead of /, and starts nothing
#   SOURCE=/vagrant     where the checkout is
set -euo pipefail
root=${ROOT:-}
source=${SOURCE:-/vagrant}

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
  (umask 077 && head -c 32 /dev/urandom >"$key.new")
  install -m 0600 "${owner[@]}" "$key.new" "$key"
  rm -f "$key.new"
fi
cat >"$root/etc/coffer.d/coffer.hcl" <<'HCL'
storage "raft" {
  path    = "/var/lib/coffer"
  node_id = "coffer-1"
}
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
seal "static" {
  current_key_id = "lab"
  current_key    = "file:///etc/coffer.d/seal.key"
}
api_addr = "http://127.0.0.1:8200"
HCL
chmod 0640 "$root/etc/coffer.d/coffer.hcl"
if [[ -n $root ]]; then
  exit 0
fi
chgrp coffer "$root/etc/coffer.d/coffer.hcl"
systemctl daemon-reload
systemctl enable --now coffer
export COFFER_ADDR=http://127.0.0.1:8200
if ! coffer operator init -status >/dev/null 2>&1; then
  # Lab only: the recovery keys and the root token stay on the machine.
  (umask 077 && coffer operator init -recovery-shares=1 -recovery-threshold=1 -format=json >/root/coffer-init.json)
  echo "The root token is in /root/coffer-init.json."
fi
