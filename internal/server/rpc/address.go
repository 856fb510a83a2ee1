package rpc

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// address returns the client's address, or the network of an IPv6 client, for
// limits of rate.
//
// Where a trusted proxy says who its client is, that counts; where this is a
// trusted proxy as well, what it had said counts, which stands to the left. So
// the answer is the rightmost address that is no trusted proxy's: whatever
// stands to the left of it may be made up.
func (s *Server) address(r *http.Request) netip.Addr {
	from := parseHop(r.RemoteAddr)
	hops := hops(r.Header, s.cfg.ProxyHeader)
	for s.proxy(from) && len(hops) > 0 {
		said := hops[len(hops)-1]
		hops = hops[:len(hops)-1]
		if !said.IsValid() {
			break
		}
		from = said
	}
	if from.Is6() {
		if network, err := from.WithZone("").Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return from
}

// proxy reports whether an address is a trusted proxy's.
func (s *Server) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
}

// hops returns the addresses that proxies added to a header, the last one last.
// What is no address, as a name that hides it, is the zero one.
func hops(h http.Header, name string) (all []netip.Addr) {
	values := h.Values(name)
	if len(values) == 0 {
		return nil
	}
	for _, element := range strings.Split(strings.Join(values, ","), ",") {
		if http.CanonicalHeaderKey(name) == "Forwarded" {
			element = forwardedFor(element)
		}
		all = append(all, parseHop(element))
	}
	return all
}

// forwardedFor returns the client of one element of Forwarded, of RFC 7239.
func forwardedFor(element string) string {
	for _, pair := range strings.Split(element, ";") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		if found && strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop reads an address with or without a port, or returns the zero one.
func parseHop(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
