package redis

// Mark is the name of a connection that is at a user.
func Mark(name string) string { return mark(name) }

// Rules reads statements.
func Rules(statements ...string) ([]string, error) { return rules(statements, "n") }
