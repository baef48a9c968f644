# Coffer. `make run` starts a dev server with a secret in it; `make test` runs
# everything that CI runs. Both install what they lack where they can.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
export CGO_ENABLED ?= 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: test-aws build run test unit race lint conformance conformance-cluster bench profile failover soak chaos fuzz proto tidy clean

build: ## the binary, in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/coffer ./cmd/coffer

run: build ## a dev server with a secret in it, and a database if PostgreSQL is installed
	./bin/coffer dev -database

test: ## everything that CI runs
	@testing/run-tests

unit:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

conformance: build ## the official Go clients, Vault's and OpenBao's, against a server
	cd testing/conformance && for client in vault openbao; do \
		$(GO) vet -tags $$client ./...; COFFER_BINARY=$(CURDIR)/bin/coffer $(GO) test -tags $$client ./...; \
	done

conformance-cluster: build ## the same clients against a follower of three nodes
	COFFER_CONFORMANCE_NODES=3 $(MAKE) conformance

test-aws: ## the AWS engine against the account whose key is in the environment; COFFER_TEST_AWS_ROLE is a role to assume
	@if [[ -z "$${AWS_ACCESS_KEY_ID:-}" || -z "$${AWS_SECRET_ACCESS_KEY:-}" ]]; then \
		echo "skipped: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment"; \
	else \
		$(GO) test -tags realaws -count 1 -run 'TestAccount$$' -v ./engines/aws; \
	fi

lint:
	@testing/lint

BENCH ?= -tls -audit
bench: build ## rates of all work as fractions of their floors; BENCH are flags of testing/bench, as -target, -conns, -rate, -json, -svg
	$(GO) run ./testing/bench -binary bin/coffer $(BENCH)

profile: build ## what the compiler is told of where the time goes; commit what changes
	$(GO) run ./testing/bench -binary bin/coffer -profile cmd/coffer/default.pgo

failover: ## kills the leader of three nodes 20 times, under writes
	$(GO) test ./testing/harness -run TestLeaderKilled -kills 20 -count 1 -timeout 30m -v

DURATION ?= 10m
soak: ## loads three nodes as much as they take, which must cause no election
	$(GO) test ./testing/harness -run TestFullLoad -count 1 -timeout 0 -v -soak $(DURATION)

SEED ?= 0
NODES ?= 3
FAULTS ?= all
WORKLOADS ?= all
chaos: ## torments a cluster of real processes for DURATION; see docs/reliability.md
	$(GO) run ./testing/chaos -duration $(DURATION) -seed $(SEED) -nodes $(NODES) -faults $(FAULTS) -workloads $(WORKLOADS)

FUZZTIME ?= 30s
fuzz: ## every fuzz target in turn
	@testing/fuzz $(FUZZTIME)

proto: ## the generated code of fsm/fsmpb; needs protoc and protoc-gen-go
	protoc --go_out=. --go_opt=module=github.com/coffer-secrets/coffer fsm/fsmpb/command.proto

clean:
	rm -rf bin dist
