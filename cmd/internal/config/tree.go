package config

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a configuration file.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 32
)

// kind is the form of a value.
type kind int

const (
	scalar kind = iota
	list
	object
)

// place is where something was written.
type place struct {
	file string
	line int
}

func (p place) String() string {
	if p.file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// value is a piece of a configuration, whichever syntax it was written in.
type value struct {
	place
	kind kind
	// text is a scalar as it was written, without quotes.
	text string
	// quoted says that it was a string.
	quoted  bool
	list    []value
	entries []entry
}

// entry is a key of an object. Blocks with the same name are entries of their
// own, in both syntaxes.
type entry struct {
	place
	name  string
	value value
	// block says that it may stand beside others of its name.
	block bool
}

// problem is something wrong at a place.
type problem struct {
	place
	text string
}

func (p *problem) Error() string {
	if p.file == "" {
		return p.text
	}
	return p.String() + ": " + p.text
}

func (p place) errorf(format string, args ...any) error {
	return &problem{place: p, text: fmt.Errorf(format, args...).Error()}
}

// parse reads a file's text. JSON is told by its first character, as Vault does.
func parse(file string, text []byte) (root value, err error) {
	at := place{file: file, line: 1}
	if len(text) > maxFileBytes {
		return value{}, at.errorf("the file is larger than the limit of %d bytes", maxFileBytes)
	}
	// The HCL parser is known to panic on a few malformed inputs.
	defer func() {
		if cause := recover(); cause != nil {
			err = at.errorf("the file is not well-formed HCL")
		}
	}()
	if strings.HasPrefix(strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff")), "{") {
		return parseJSON(file, text)
	}
	return parseHCL(file, text)
}

// objects are the blocks that a value holds: itself, or those of a list.
func (v value) objects() ([]value, error) {
	switch v.kind {
	case object:
		return []value{v}, nil
	case list:
		var out []value
		for _, item := range v.list {
			inner, err := item.objects()
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
		}
		return out, nil
	}
	return nil, v.errorf("expected a block in braces")
}

// labelled is a block with its label, such as listener "tcp".
type labelled struct {
	place
	label string
	value value
}

// blocks are the labelled blocks that a value holds.
func (v value) blocks() ([]labelled, error) {
	outer, err := v.objects()
	if err != nil {
		return nil, err
	}
	var out []labelled
	for _, o := range outer {
		for _, e := range o.entries {
			inner, err := e.value.objects()
			if err != nil {
				return nil, e.errorf("expected a label such as \"tcp\", and then a block in braces")
			}
			for _, block := range inner {
				out = append(out, labelled{place: e.place, label: e.name, value: block})
			}
		}
	}
	if len(out) == 0 {
		return nil, v.errorf("expected a label such as \"tcp\", and then a block in braces")
	}
	return out, nil
}

var errDeep = errors.New("blocks and lists are nested too deeply")
