package postgres

import "github.com/coffer-secrets/coffer/engines/database"

// Fill fills a name and a password into one statement.
func Fill(text, name, password string) (string, error) {
	return fillOne(text, &values{fill: map[string]string{"name": name, "password": password}})
}

// Together reports whether statements may be in one transaction with others.
func Together(statements ...string) bool { return together(statements) }

// Family is how the names of sessions of a connection begin.
func Family(url, user string) string {
	return newFence(&database.Settings{URL: url, Username: user}).family
}

// Shape is what a statement is made of, without what is inside of quotes.
func Shape(text string) (string, error) {
	r := &reader{text: text}
	var shape []byte
	for r.at < len(text) {
		at, in := r.at, r.in
		r.step()
		if in == plain {
			shape = append(shape, text[at:r.at]...)
		}
	}
	_, err := fillOne(text, &values{})
	return string(shape), err
}
