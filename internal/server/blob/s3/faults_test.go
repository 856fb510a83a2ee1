package s3_test

import (
	"testing"

	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

// config returns the configuration of a new place.
func config(t testing.TB, url string) s3.Config {
	t.Helper()
	c, err := s3.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// behind opens a store through a proxy.
func behind(t *testing.T, c s3.Config) (blob.Store, *faulty.Proxy) {
	t.Helper()
	proxy := faulty.NewProxy(t, c.Host)
	c.Host = proxy.Address()
	return openConfig(t, c), proxy
}

func openConfig(t testing.TB, c s3.Config) blob.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFailuresOfTheNetworkAreSurvivedOrTold(t *testing.T) {
	blobtest.RunRemote(t, func(t *testing.T, p httpstore.Patience) (blob.Store, *faulty.Proxy) {
		c := config(t, services.S3(t))
		c.Patience = p
		return behind(t, c)
	})
}
