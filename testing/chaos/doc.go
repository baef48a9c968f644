// Command chaos runs a cluster of real processes under load and under faults, and
// checks what the clients saw. `make chaos` runs it; docs/reliability.md says what
// it does and what it has found.
//
//	go run ./testing/chaos -duration 10m -seed 7 -nodes 5 -faults kill,partition -workloads register
//	go run ./testing/chaos -check DIR/history.jsonl
package main
