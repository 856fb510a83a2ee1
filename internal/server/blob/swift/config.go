package swift

import (
	"context"
	"net"
	"net/url"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/server/httpstore"
)

// Auth is how a token is asked for.
type Auth uint8

const (
	// V1 is tempauth and its like: a user and a key in the head of a request.
	V1 Auth = 1
	// V3 is Keystone: a user of a domain, with a password, for a project.
	V3 Auth = 3
)

// Config says where the container is. It does not print its credentials.
type Config struct {
	// Host is that of the service with V1, of Keystone with V3; with a port
	// where it is not the scheme's own.
	Host      string
	Container string
	Auth      Auth
	// AuthPath is where tokens are at the host; default /auth/v1.0 with V1 and
	// /v3 with V3.
	AuthPath string
	// Tenant is the project whose container it is, Domain that of the user and
	// the project, Region the region whose service is used; only with V3, which
	// takes a Domain named Default and the first region where they are empty.
	Tenant, Domain, Region string
	Credentials            httpstore.Credentials
	// Insecure is plain HTTP.
	Insecure bool
	// CAFile names a file of authorities that are trusted besides the
	// system's; it may be empty.
	CAFile string
	// Patience is how long to wait and how often to ask.
	Patience httpstore.Patience
	// Dial makes connections in place of the system; it may be nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ParseURL reads swift://USER:KEY@HOST/CONTAINER?auth=v1 or v3, with
// insecure=true, tenant=T, domain=D, region=R, auth-path=P and ca=FILE where
// needed. Its parts are percent-encoded. Without USER:KEY the credentials are
// left empty.
func ParseURL(text string) (Config, error) {
	a, err := httpstore.ParseAddress(text, "swift", "auth", "insecure", "tenant", "domain", "region", "auth-path", "ca")
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Host: a.Host, Container: a.Name, AuthPath: a.Value("auth-path"),
		Tenant: a.Value("tenant"), Domain: a.Value("domain"), Region: a.Value("region"),
		Credentials: a.Credentials, CAFile: a.Value("ca"),
	}
	if c.Insecure, err = a.Bool("insecure"); err != nil {
		return Config{}, err
	}
	switch a.Value("auth") {
	case "v1":
		c.Auth = V1
	case "v3":
		c.Auth = V3
	default:
		return Config{}, fault.Errorf(fault.Usage, "read object store URL: auth is v1 or v3")
	}
	return c, nil
}

// WithEnvironment returns the configuration with the credentials of
// OS_USERNAME and OS_PASSWORD where it has none itself.
func (c Config) WithEnvironment(lookup func(string) (string, bool)) Config {
	c.Credentials = c.Credentials.OrFromEnvironment(lookup, "OS_USERNAME", "OS_PASSWORD")
	return c
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Host == "":
		return fault.Errorf(fault.Usage, "a Swift store without a host")
	case c.Container == "" || strings.Contains(c.Container, "/"):
		return fault.Errorf(fault.Usage, "open %s: it names no container", c)
	case c.Auth != V1 && c.Auth != V3:
		return fault.Errorf(fault.Usage, "open %s: its way of authentication is neither v1 nor v3", c)
	case c.Auth == V1 && c.Tenant+c.Domain+c.Region != "":
		return fault.Errorf(fault.Usage, "open %s: a tenant, domain or region is for auth=v3; with v1 a tenant is a part of the user, as TENANT%%3AUSER", c)
	case c.Auth == V3 && c.Tenant == "":
		return fault.Errorf(fault.Usage, "open %s: auth=v3 wants a tenant, the project", c)
	case c.Credentials.User == "" || len(c.Credentials.Secret) == 0:
		return fault.WithHint(fault.Errorf(fault.Usage, "open %s: it has no credentials", c),
			"write them into the URL as swift://USER:KEY@..., or set OS_USERNAME and OS_PASSWORD")
	}
	return nil
}

func (c Config) authURL() string {
	path := c.AuthPath
	switch {
	case path != "":
	case c.Auth == V3:
		path = "/v3"
	default:
		path = "/auth/v1.0"
	}
	return (&url.URL{Scheme: c.network().Scheme(), Host: c.Host, Path: path}).String()
}

func (c Config) domain() string {
	if c.Auth == V3 && c.Domain == "" {
		return "Default"
	}
	return c.Domain
}

func (c Config) network() httpstore.Network {
	return httpstore.Network{Insecure: c.Insecure, CAFile: c.CAFile, Dial: c.Dial}
}

// String returns where the container is, without credentials.
func (c Config) String() string {
	return (&url.URL{Scheme: "swift", Host: c.Host, Path: c.Container}).String()
}

// GoString returns what String does.
func (c Config) GoString() string { return c.String() }
