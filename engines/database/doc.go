// Package database is the engine that makes users of databases: a connection
// says which database, a role says what its users may do, and each request for
// credentials makes a user that is gone when its lease ends.
//
// What is common to all databases is here: the routes, names and passwords, and
// for each connection one pool, a deadline for each call and a breaker, so that
// a database that does not answer holds up only who asks for it. What differs is
// a Plugin.
//
// The password that Coffer itself uses may be rotated. It is kept in a list: the
// new one is committed beside the old one before the database is told, and
// whichever the database takes is used. So there is no moment at which a crash
// would lose it. Those that are not taken are forgotten when the next rotation
// finds them old enough that nobody can still be about to set them.
package database
