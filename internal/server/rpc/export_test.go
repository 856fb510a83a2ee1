package rpc

import (
	"net/http"
	"net/netip"
)

// Address returns whose request it is, for limits of rate.
func Address(c Config, r *http.Request) netip.Addr {
	return (&Server{cfg: c.withDefaults()}).address(r)
}
