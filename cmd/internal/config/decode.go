package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// decoder collects what is wrong, so that all of it is told at once.
type decoder struct {
	problems []error
	warnings []string
}

const maxProblems = 20

func (d *decoder) fail(err error) {
	if err != nil && len(d.problems) < maxProblems {
		d.problems = append(d.problems, err)
	}
}

func (d *decoder) warn(at place, format string, args ...any) {
	d.warnings = append(d.warnings, at.errorf(format, args...).Error())
}

// setter takes over the value of a key.
type setter func(d *decoder, e entry)

// table is what a stanza may hold.
type table map[string]setter

// object takes over the keys of a block. where names the stanza in messages.
func (d *decoder) object(where string, v value, t table) {
	if v.kind != object {
		d.fail(v.errorf("%s: expected a block in braces", where))
		return
	}
	seen := make(map[string]place)
	for _, e := range v.entries {
		set, ok := t[e.name]
		if !ok {
			d.fail(unknownKey(where, e, t))
			continue
		}
		if first, twice := seen[e.name]; twice && !e.block {
			d.fail(e.errorf("%q is set twice in %s: first at line %d", e.name, where, first.line))
			continue
		}
		seen[e.name] = e.place
		set(d, e)
	}
}

// unknownKey says where a key belongs or which one was meant.
func unknownKey(where string, e entry, t table) error {
	if near := nearest(e.name, t); near != "" {
		return e.errorf("unknown key %q in %s: did you mean %q?", e.name, where, near)
	}
	if places := belongs(e.name); len(places) > 0 {
		return e.errorf("%q does not belong in %s: it is a key of %s", e.name, where, strings.Join(places, " and of "))
	}
	return e.errorf("unknown key %q in %s", e.name, where)
}

// nearest is the key that a mistyped one is a slip away from.
func nearest(name string, t table) string {
	best, distance := "", max(2, len(name)/4)+1
	for _, key := range keys(t) {
		if n := editDistance(strings.ToLower(name), key); n < distance {
			best, distance = key, n
		}
	}
	if distance >= len(name) {
		return ""
	}
	return best
}

func keys(t table) []string {
	out := make([]string, 0, len(t))
	for key := range t {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// editDistance counts insertions, deletions, replacements, and swaps of
// neighbours (optimal string alignment).
func editDistance(a, b string) int {
	if a = clip(a); len(b) == 0 {
		return len(a)
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := row[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			next[j] = min(row[j]+1, next[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

func clip(text string) string {
	const most = 64
	return text[:min(len(text), most)]
}

// one takes over a scalar, with what is wrong as parse tells it.
func one(parse func(text string) error) setter {
	return func(d *decoder, e entry) {
		if e.value.kind != scalar {
			d.fail(e.errorf("%s: expected a single value", e.name))
			return
		}
		if err := parse(e.value.text); err != nil {
			d.fail(e.value.errorf("%s: %w", e.name, err))
		}
	}
}

func text(into *string) setter {
	return one(func(text string) error {
		*into = text
		return nil
	})
}

func truth(into *bool) setter {
	return one(func(text string) (err error) {
		*into, err = parseTruth(text)
		return err
	})
}

func parseTruth(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off", "":
		return false, nil
	}
	return false, fmt.Errorf("expected true or false, not %q", clip(text))
}

func duration(into *time.Duration) setter {
	return one(func(text string) error {
		parsed, ok := engines.ParseSeconds(text)
		if !ok || parsed < 0 || text == "" {
			return fmt.Errorf("expected a duration such as \"90s\", \"768h\" or \"30d\", or a number of seconds, not %q", clip(text))
		}
		*into = parsed
		return nil
	})
}

// size takes over a number of bytes: 33554432, "32MiB", "32mb".
func size(into *int64) setter {
	return one(func(text string) (err error) {
		*into, err = parseSize(text)
		return err
	})
}

func parseSize(text string) (int64, error) {
	number := strings.ToLower(strings.TrimSpace(text))
	unit := int64(1)
	for _, suffix := range []struct {
		name  string
		bytes int64
	}{
		{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1000}, {"mb", 1000 * 1000}, {"gb", 1000 * 1000 * 1000}, {"b", 1},
	} {
		if rest, ok := strings.CutSuffix(number, suffix.name); ok {
			number, unit = strings.TrimSpace(rest), suffix.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<50)/unit {
		return 0, fmt.Errorf("expected a size in bytes or such as \"32MiB\", not %q", clip(text))
	}
	return n * unit, nil
}

func number[T int | uint64](into *T, low, high T) setter {
	return one(func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < int64(low) || n > int64(high) { // #nosec G115 -- the bounds are small
			return fmt.Errorf("expected a whole number from %d to %d, not %q", low, high, clip(text))
		}
		*into = T(n)
		return nil
	})
}

func choice(into *string, allowed ...string) setter {
	return one(func(text string) error {
		text = strings.ToLower(text)
		if !slices.Contains(allowed, text) {
			return fmt.Errorf("expected one of %s, not %q", strings.Join(allowed, ", "), clip(text))
		}
		*into = text
		return nil
	})
}

// texts takes over a list, or one text with commas between.
func texts(into *[]string) setter {
	return func(d *decoder, e entry) {
		*into = nil
		items := e.value.list
		if e.value.kind == scalar {
			for part := range strings.SplitSeq(e.value.text, ",") {
				if part = strings.TrimSpace(part); part != "" {
					*into = append(*into, part)
				}
			}
			return
		}
		if e.value.kind == object {
			d.fail(e.errorf("%s: expected a list", e.name))
			return
		}
		for _, item := range items {
			if item.kind != scalar {
				d.fail(item.errorf("%s: expected a list of texts", e.name))
				return
			}
			*into = append(*into, item.text)
		}
	}
}

// ignored is a key of Vault's that changes nothing here.
func ignored(why string) setter {
	return func(d *decoder, e entry) { d.warn(e.place, "%s has no effect: %s", e.name, why) }
}

// quiet is a key of Vault's that asks for what is so anyway.
func quiet() setter { return func(*decoder, entry) {} }

// refused is a key of Vault's that asks for what Coffer does not do, where
// going on without it would surprise.
func refused(why string) setter {
	return func(d *decoder, e entry) { d.fail(e.errorf("%s is not supported: %s", e.name, why)) }
}

// refusedIfOn is refused unless it is switched off.
func refusedIfOn(why string) setter {
	return func(d *decoder, e entry) {
		if on, err := parseTruth(e.value.text); e.value.kind != scalar || err != nil || on {
			d.fail(e.errorf("%s is not supported: %s", e.name, why))
		}
	}
}

// blocks takes over each of the blocks without a label that stand under a name.
func blocks(take func(d *decoder, v value)) setter {
	return func(d *decoder, e entry) {
		found, err := e.value.objects()
		if err != nil {
			d.fail(e.errorf("%s: expected a block in braces", e.name))
			return
		}
		for _, v := range found {
			if v.line == 0 {
				v.place = e.place
			}
			take(d, v)
		}
	}
}
