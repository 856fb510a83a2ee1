package httpstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"time"

	"parsec/internal/base/fault"
)

// Bounds of a store's connections.
const (
	// maxConnections bounds them all. A download holds one for as long as its
	// client takes, so there are many; each costs a file descriptor.
	maxConnections = 1000
	// maxIdle is how many wait for the next request: more than are ever
	// written to at once.
	maxIdle = 64
)

// Network is how a store is reached.
type Network struct {
	// Insecure is plain HTTP.
	Insecure bool
	// CAFile names a file of authorities, in PEM, that are trusted besides the
	// system's; it may be empty.
	CAFile string
	// Dial makes connections in place of the system; it may be nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Scheme returns that of the URLs of a store's requests.
func (n Network) Scheme() string {
	if n.Insecure {
		return "http"
	}
	return "https"
}

// Transport returns what makes the connections. It speaks HTTP/1.1 alone: one
// HTTP/2 connection for everything would be slower.
func (n Network) Transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           n.Dial,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       time.Minute,
		MaxConnsPerHost:       maxConnections,
		MaxIdleConnsPerHost:   maxIdle,
		DisableCompression:    true,
	}
	if n.Dial == nil {
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if n.CAFile == "" {
		return t, nil
	}
	text, err := os.ReadFile(n.CAFile)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read authorities of an object store: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fault.Errorf(fault.Usage, "read authorities of an object store: no certificate in %s", n.CAFile)
	}
	t.TLSClientConfig.RootCAs = roots
	return t, nil
}
