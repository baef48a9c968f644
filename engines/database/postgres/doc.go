// Package postgres makes users of PostgreSQL for the database engine.
//
// Statements are texts with placeholders. They are read as PostgreSQL reads
// them, so that a value is quoted for where it stands, and are sent as one
// message: PostgreSQL runs that as one transaction, in one round trip.
//
// Where a statement sets a password and the server keeps SCRAM verifiers, the
// verifier is made here and the password stays out of the statement, and so out
// of the server's logs.
package postgres
