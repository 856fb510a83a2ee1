package httpstore

import (
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
)

// Credentials are who the server is to a store. They do not print.
type Credentials struct {
	User   string
	Secret secret.Bytes
}

// String says that there are credentials, or none.
func (c Credentials) String() string {
	if c.IsZero() {
		return "none"
	}
	return c.Secret.String()
}

// GoString returns what String does.
func (c Credentials) GoString() string { return c.String() }

// MarshalText returns what String does.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue returns what String does.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// IsZero reports whether there are none.
func (c Credentials) IsZero() bool { return c.User == "" && len(c.Secret) == 0 }

// Equal reports whether both are the same.
func (c Credentials) Equal(other Credentials) bool {
	return c.User == other.User && c.Secret.Equal(other.Secret)
}

// OrFromEnvironment returns the credentials or, where there are none, those
// of two variables.
func (c Credentials) OrFromEnvironment(lookup func(string) (string, bool), user, key string) Credentials {
	if !c.IsZero() {
		return c
	}
	c.User, _ = lookup(user)
	text, _ := lookup(key)
	c.Secret = secret.Bytes(text)
	return c
}

// Address is the URL of a store: SCHEME://USER:SECRET@HOST/NAME?KEY=VALUE,
// its parts percent-encoded.
type Address struct {
	Credentials Credentials
	Host        string
	Name        string // of the bucket or container
	query       url.Values
}

// ParseAddress reads the URL of a store. It refuses keys other than those
// named, and never repeats in an error what may be secret.
func ParseAddress(text, scheme string, keys ...string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != scheme || u.Host == "" || u.Opaque != "" || u.Fragment != "" {
		return Address{}, fault.Errorf(fault.Usage, "read object store URL: it is not of the form %s://KEY:SECRET@HOST/NAME, with its parts percent-encoded", scheme)
	}
	a := Address{Host: u.Host, Name: strings.Trim(u.Path, "/")}
	if a.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return Address{}, fault.Errorf(fault.Usage, "read object store URL: what follows ? is not of the form KEY=VALUE&KEY=VALUE")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		a.Credentials = Credentials{User: u.User.Username(), Secret: secret.Bytes(password)}
	}
	for key, values := range a.query {
		if !slices.Contains(keys, key) {
			return Address{}, fault.Errorf(fault.Usage, "read object store URL: an unknown key after ?, want %s", strings.Join(keys, ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return Address{}, fault.Errorf(fault.Usage, "read object store URL: %s wants one value", key)
		}
	}
	return a, nil
}

// Value returns the value of a key, or "".
func (a Address) Value(key string) string { return a.query.Get(key) }

// Has reports whether a key is given.
func (a Address) Has(key string) bool { return a.query.Has(key) }

// Bool returns the value of a key that is true or false, false if not given.
func (a Address) Bool(key string) (bool, error) {
	if !a.Has(key) {
		return false, nil
	}
	v, err := strconv.ParseBool(a.Value(key))
	if err != nil {
		return false, fault.Errorf(fault.Usage, "read object store URL: %s is true or false", key)
	}
	return v, nil
}
