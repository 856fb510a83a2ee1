package swift_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"

	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/swift"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	c, err := swift.ParseURL(place)
	if err != nil {
		return nil, err
	}
	return swift.Open(ctx, c)
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestAContainerKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.Swift(t) }, Open: open})
}

func TestAURLIsAConfiguration(t *testing.T) {
	mine := httpstore.Credentials{User: "test:me", Secret: secret.Bytes("s/3:c@r%t")}
	for text, want := range map[string]swift.Config{
		"swift://test%3Ame:s%2F3%3Ac%40r%25t@swift.example.com/container?auth=v1": {
			Host: "swift.example.com", Container: "container", Auth: swift.V1, Credentials: mine,
		},
		"swift://127.0.0.1:5000/container?auth=v3&insecure=true&tenant=t&domain=d&region=r&auth-path=/identity/v3&ca=/etc/ca.pem": {
			Host: "127.0.0.1:5000", Container: "container", Auth: swift.V3, Insecure: true, Tenant: "t", Domain: "d", Region: "r",
			AuthPath: "/identity/v3", CAFile: "/etc/ca.pem",
		},
	} {
		got, err := swift.ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(httpstore.Credentials.Equal)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"s3://me:secret@host/container?auth=v1", "swift://me:secret@host/container", "swift://me:secret@host/container?auth=v2",
		"swift://me:secret@host/container?auth=v1&insecure=perhaps", "swift://me:secret@host/container?auth=v1&path-style=true",
	} {
		_, err := swift.ParseURL(text)
		fails(t, text, err, fault.Usage)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	good := swift.Config{Host: "host", Container: "container", Auth: swift.V3, Tenant: "t", Credentials: httpstore.Credentials{User: "me", Secret: secret.Bytes("secret")}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*swift.Config){
		"no host":              func(c *swift.Config) { c.Host = "" },
		"no container":         func(c *swift.Config) { c.Container = "" },
		"a container of parts": func(c *swift.Config) { c.Container = "a/b" },
		"no way in":            func(c *swift.Config) { c.Auth = 0 },
		"v1 with a tenant":     func(c *swift.Config) { c.Auth = swift.V1 },
		"v3 without":           func(c *swift.Config) { c.Tenant = "" },
		"no user":              func(c *swift.Config) { c.Credentials.User = "" },
		"no key":               func(c *swift.Config) { c.Credentials.Secret = nil },
	} {
		c := good
		spoil(&c)
		_, err := swift.Open(t.Context(), c)
		fails(t, name, err, fault.Usage)
	}
	good.CAFile = "nowhere"
	_, err := swift.Open(t.Context(), good)
	fails(t, "no such file", err, fault.Usage)
}

// BenchmarkPut stores full packs, of whole blocks and of small ones.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{512 << 10, 2 << 10} {
		b.Run(fmt.Sprintf("blocks of %d KiB", size>>10), func(b *testing.B) {
			s := openConfig(b, config(b, services.Swift(b)))
			scope := newKey().Scope
			parts := pack(size)
			b.SetBytes(packSize)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Put(b.Context(), blob.Key{Scope: scope, Pack: id.New[id.Pack]()}, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGet reads full packs, and single blocks of them.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int64{packSize, 512 << 10, 2 << 10} {
		b.Run(fmt.Sprintf("%d KiB", size>>10), func(b *testing.B) {
			s := openConfig(b, config(b, services.Swift(b)))
			key := newKey()
			if err := s.Put(b.Context(), key, pack(512<<10)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Get(b.Context(), key, packSize-size, size)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// packSize is that of a full pack.
const packSize = 16 << 20

func pack(size int) [][]byte {
	parts := make([][]byte, packSize/size)
	for i := range parts {
		parts[i] = make([]byte, size)
	}
	return parts
}
