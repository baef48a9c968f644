#!/usr/bin/env bash
# Makes a machine the lab's PostgreSQL server, which the nodes may reach. It may
# run again: what is there stays.
#
#   NETWORK=192.168.56.0/24   who may connect
set -euo pipefail
network=${NETWORK:?}

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql
config=$(ls -d /etc/postgresql/*/main | tail -n 1)
printf "listen_addresses = '*'\npassword_encryption = 'scram-sha-256'\n" >"$config/conf.d/coffer.conf"
line="host all all $network scram-sha-256"
grep -qxF "$line" "$config/pg_hba.conf" || echo "$line" >>"$config/pg_hba.conf"
systemctl restart postgresql

# Lab only: the password of the role that makes others stays on the machine.
password=/root/coffer-postgres-password
if [[ ! -e $password ]]; then
  (umask 077 && head -c 18 /dev/urandom | base64 >"$password")
fi
sudo -u postgres psql -v ON_ERROR_STOP=1 -q <<SQL
SELECT 'CREATE ROLE coffer LOGIN CREATEROLE' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'coffer') \gexec
ALTER ROLE coffer PASSWORD '$(cat "$password")';
SELECT 'CREATE DATABASE app' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'app') \gexec
SQL
echo "The password of the role coffer is in $password."
