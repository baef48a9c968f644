// Package redisserver starts a Redis for tests: a folder of its own, a free port
// and a file of users, the first of which is called Admin and may do everything.
// It is Redis' own binary, so what is tested against it is tested against the
// real thing.
package redisserver
