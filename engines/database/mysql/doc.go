// Package mysql makes users of MySQL and MariaDB for the database engine.
//
// Statements are texts with placeholders. They are read as the server reads
// them, so that a value is quoted for where it stands, and are sent as one
// message that the server itself takes apart: nobody guesses where a statement
// ends. Whatever the server's settings are, sessions run with a sql_mode under
// which a backslash escapes and double quotes are those of texts, which is what
// the reader goes by.
//
// The server commits each statement by itself and goes on with what it was sent
// after whoever sent it has gone. So a session that changes a user first takes a
// lock named after it. Who revokes the user ends the session that has the lock,
// and only then drops the user: nothing that was sent before can make it again.
package mysql
