package swift_test

import (
	"testing"

	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/swift"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

// config returns the configuration of a new place.
func config(t testing.TB, url string) swift.Config {
	t.Helper()
	c, err := swift.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// behind opens a store through a proxy.
func behind(t *testing.T, c swift.Config) (blob.Store, *faulty.Proxy) {
	t.Helper()
	proxy := faulty.NewProxy(t, c.Host)
	c.Host = proxy.Address()
	return openConfig(t, c), proxy
}

func openConfig(t testing.TB, c swift.Config) blob.Store {
	t.Helper()
	s, err := swift.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFailuresOfTheNetworkAreSurvivedOrTold(t *testing.T) {
	blobtest.RunRemote(t, func(t *testing.T, p httpstore.Patience) (blob.Store, *faulty.Proxy) {
		c := config(t, services.Swift(t))
		c.Patience = p
		return behind(t, c)
	})
}
