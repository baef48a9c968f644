// Package postgres makes users of PostgreSQL for the database engine.
//
// Statements are texts with placeholders. They are read as PostgreSQL reads
// them, so that a value is quoted for where it stands, and are sent as one
// message: PostgreSQL runs that as one transaction, in one round trip.
//
// Where a statement sets a password and the server keeps SCRAM verifiers, the
// verifier is made here and the password stays out of the statement, and so out
// of the server's logs. PostgreSQL then checks that it is none of the empty
// password, which costs it as much as making one: some 3 ms for each user.
//
// What was sent may reach the server late, and a process that was stopped goes on
// later. Sessions have names by which those of other pools are known, and whoever
// revokes a user that is not there ends them first: nothing that was sent before
// can make the user again.
package postgres
