package auth

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// maxAddresses bounds a list of addresses.
const maxAddresses = 1024

// CheckAddresses refuses a field's list if an entry is neither an address nor
// address/bits.
func CheckAddresses(field string, list []string) error {
	if len(list) > maxAddresses {
		return engines.Invalidf("%s: at most %d entries", field, maxAddresses)
	}
	for _, text := range list {
		if _, ok := parse(text); !ok {
			return engines.Invalidf("%s: an entry is neither an address nor address/bits", field)
		}
	}
	return nil
}

// Allows reports whether a list lets an address in. An empty list lets every
// caller in; any other keeps those out whose address is not known.
func Allows(list []string, addr netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(text string) bool {
		prefix, ok := parse(text)
		return ok && prefix.Contains(addr)
	})
}

// Within reports whether every address that inner lets in, outer does too.
func Within(inner, outer []string) bool {
	if len(outer) == 0 {
		return true
	}
	return !slices.ContainsFunc(inner, func(text string) bool {
		in, ok := parse(text)
		return !ok || !slices.ContainsFunc(outer, func(text string) bool {
			out, ok := parse(text)
			return ok && out.Bits() <= in.Bits() && out.Contains(in.Addr())
		})
	})
}

func parse(text string) (netip.Prefix, bool) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err == nil
}
