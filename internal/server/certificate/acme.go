package certificate

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"parsec/internal/base/fault"
)

// ACME says how to get certificates from an authority that speaks ACME. The
// authority convinces itself on the server's own port, by TLS-ALPN-01, so that
// has to be reached as port 443 of each domain. Using it accepts the
// authority's terms of service.
type ACME struct {
	// Domains are the names that certificates are asked for, and no others.
	Domains []string
	// Email is where the authority writes to; it may be empty.
	Email string
	// Directory is the URL of the authority; default Let's Encrypt.
	Directory string
	// Cache is the folder for keys and certificates, which is made if missing.
	Cache string
	// Client asks the authority; default http.DefaultClient.
	Client *http.Client
}

// Validate refuses what no authority would certify.
func (a ACME) Validate() error {
	for _, d := range a.Domains {
		_, err := netip.ParseAddr(d)
		if err == nil || !strings.Contains(strings.Trim(d, "."), ".") || strings.ContainsAny(d, "*:/ ") {
			return fault.Errorf(fault.Usage, "get certificates by ACME: %q is not a domain, as parsec.example.com", d)
		}
	}
	if u, err := url.Parse(a.Directory); a.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return fault.Errorf(fault.Usage, "get certificates by ACME: the directory is not an https URL")
	}
	return nil
}

// Config returns what a server needs to speak TLS with them. A certificate is
// asked for at the first connection that needs it, kept, and renewed a month
// before its end.
func (a ACME) Config() *tls.Config {
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(a.Domains...), Email: a.Email,
		Cache:  autocert.DirCache(a.Cache),
		Client: &acme.Client{DirectoryURL: a.Directory, HTTPClient: a.Client},
	}
	c := m.TLSConfig()
	c.MinVersion = tls.VersionTLS13
	return c
}
