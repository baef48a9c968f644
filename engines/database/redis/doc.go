// Package redis makes ACL users of Redis and Valkey for the database engine.
//
// A role's creation statements are rules of ACL SETUSER, as a JSON list or with
// spaces between them. Passwords are sent as hashes, and so rules about
// passwords are not for a role to have.
//
// What was sent may reach the server late. So a connection that changes a user
// first takes a name after it, and only goes on once it has that. Who revokes the
// user ends the connections with that name, and only then deletes it: nothing
// that was sent before can make it again.
//
// Redis forgets users when it restarts, and would know revoked ones again, unless
// they are saved: where it has a file of users, each change is written to it.
package redis
