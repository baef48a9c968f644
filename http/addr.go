package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Proxies says whose word on a client's address counts.
type Proxies struct {
	// Trusted are the peers that may set X-Forwarded-For.
	Trusted []netip.Prefix
	// Hops is how many entries from the right were written by trusted proxies
	// besides the peer itself.
	Hops int
	// Lenient ignores the header of other peers instead of refusing them.
	Lenient bool
	// Required refuses requests without the header.
	Required bool
}

// ClientAddr is the address of the client: the peer's, or what a trusted peer
// says, read from the right, since the left is the client's own word.
func (p Proxies) ClientAddr(r *http.Request) (netip.Addr, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, nil //nolint:nilerr // a Unix socket has no address
	}
	addr := peer.Addr().Unmap().WithZone("")
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(p.Trusted) == 0 {
		return addr, nil
	}
	if len(forwarded) == 0 {
		if p.Required {
			return netip.Addr{}, engines.Invalidf("missing X-Forwarded-For, which every request here must carry")
		}
		return addr, nil
	}
	if !slices.ContainsFunc(p.Trusted, func(t netip.Prefix) bool { return t.Contains(addr) }) {
		if p.Lenient {
			return addr, nil
		}
		return netip.Addr{}, engines.Invalidf("X-Forwarded-For comes from a peer that is not a trusted proxy")
	}
	list := strings.Split(strings.Join(forwarded, ","), ",")
	at := len(list) - 1 - p.Hops
	if at < 0 {
		return netip.Addr{}, engines.Invalidf("X-Forwarded-For has fewer entries than there are trusted proxies")
	}
	client, err := netip.ParseAddr(strings.TrimSpace(list[at]))
	if err != nil {
		return netip.Addr{}, engines.Invalidf("X-Forwarded-For holds something that is not an address")
	}
	return client.Unmap().WithZone(""), nil
}

// clientPort is the port that goes with the client's address, unless a proxy may
// stand between.
func (p Proxies) clientPort(remote string) uint16 {
	if len(p.Trusted) > 0 {
		return 0
	}
	port, err := strconv.ParseUint(remote[strings.LastIndexByte(remote, ':')+1:], 10, 16)
	if err != nil {
		return 0 // a Unix socket has none
	}
	return uint16(port)
}
