// Package system is the engine mounted at sys/: mounts, policies, capabilities,
// wrapping, keys, settings and what a node tells of itself. It follows the same
// contract as any engine, and unlike others it may reach into the core's parts.
//
// What a sealed node must answer too (init, unseal, seal-status, health,
// leader, rekey and generate-root) is not here: it needs no transaction.
package system
