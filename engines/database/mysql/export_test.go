package mysql

// Fill fills a name and a password into one statement.
func Fill(text, name, password string) (string, error) {
	return fillOne(text, map[string]string{"name": name, "password": password})
}

// Shape is what a statement is made of, without what is inside of quotes.
func Shape(text string) (string, error) {
	r := &reader{text: text}
	var shape []byte
	for r.at < len(text) {
		at, in := r.at, r.in
		if err := r.step(); err != nil {
			return "", err
		}
		if in == plain {
			shape = append(shape, text[at:r.at]...)
		}
	}
	_, err := fillOne(text, nil)
	return string(shape), err
}

// Lock is the name of a user's lock.
func Lock(name string) string { return lock(name) }
