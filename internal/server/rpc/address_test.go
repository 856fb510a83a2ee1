package rpc_test

import (
	"net/http"
	"net/netip"
	"testing"

	"parsec/internal/server/rpc"
)

func TestTheClientIsTheLastHopThatIsNoTrustedProxy(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, remote, header string
		values               []string
		want                 string
	}{
		{"without a proxy, who connects", "192.0.2.1:1234", "X-Forwarded-For", nil, "192.0.2.1"},
		{"a stranger's word counts nothing", "192.0.2.1:1234", "X-Forwarded-For", []string{"192.0.2.9"}, "192.0.2.1"},
		{"a proxy's word counts", "10.0.0.1:1234", "X-Forwarded-For", []string{"192.0.2.9"}, "192.0.2.9"},
		{"what the client made up stands to the left", "10.0.0.1:1234", "X-Forwarded-For", []string{"198.51.100.1, 192.0.2.9"}, "192.0.2.9"},
		{"also in a line of its own", "10.0.0.1:1234", "X-Forwarded-For", []string{"198.51.100.1", "192.0.2.9"}, "192.0.2.9"},
		{"a proxy behind a proxy is passed over", "10.0.0.1:1234", "X-Forwarded-For", []string{"198.51.100.1, 192.0.2.9, 10.2.0.1"}, "192.0.2.9"},
		{"a made up proxy is not believed", "10.0.0.1:1234", "X-Forwarded-For", []string{"198.51.100.1, 10.2.0.1, 192.0.2.9"}, "192.0.2.9"},
		{"where all are proxies, the first", "10.0.0.1:1234", "X-Forwarded-For", []string{"10.9.0.1, 10.2.0.1"}, "10.9.0.1"},
		{"what is no address ends the search", "10.0.0.1:1234", "X-Forwarded-For", []string{"192.0.2.9, unknown"}, "10.0.0.1"},
		{"a port is left out", "10.0.0.1:1234", "X-Forwarded-For", []string{"192.0.2.9:4321"}, "192.0.2.9"},
		{"an IPv6 client counts with its network", "[fd00::1]:1234", "X-Forwarded-For", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::"},
		{"an IPv4 address within IPv6 is one of IPv4", "[::ffff:10.0.0.1]:1234", "X-Forwarded-For", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		{"an empty header says nothing", "10.0.0.1:1234", "X-Forwarded-For", []string{""}, "10.0.0.1"},

		{"Forwarded says it with a name", "10.0.0.1:1234", "Forwarded", []string{"for=198.51.100.1, for=192.0.2.9;proto=https;by=10.0.0.1"}, "192.0.2.9"},
		{"in any case and order", "10.0.0.1:1234", "Forwarded", []string{`Proto=https; For="192.0.2.9:4711"`}, "192.0.2.9"},
		{"and with IPv6 in quotes", "10.0.0.1:1234", "Forwarded", []string{`for="[2001:db8:1:2::4]:4711"`}, "2001:db8:1:2::"},
		{"a hidden name is no address", "10.0.0.1:1234", "Forwarded", []string{"for=192.0.2.9, for=_hidden"}, "10.0.0.1"},
		{"a comma in quotes moves nothing to the right", "10.0.0.1:1234", "Forwarded", []string{`for="198.51.100.1,", for=192.0.2.9`}, "192.0.2.9"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{c.header: c.values}}
		got := rpc.Address(rpc.Config{Proxies: proxies, ProxyHeader: c.header}, r)
		if got.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestOnlyTheNamedHeaderCounts(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.2"}}}
	for header, want := range map[string]string{"": "192.0.2.1", "Forwarded": "192.0.2.2"} {
		if got := rpc.Address(rpc.Config{Proxies: proxies, ProxyHeader: header}, r); got.String() != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}
