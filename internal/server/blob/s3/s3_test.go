package s3_test

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
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	c, err := s3.ParseURL(place)
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, c)
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestABucketKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.S3(t) }, Open: open})
}

// The S3 interface of Swift does not honour the condition of a Put.
func TestABucketOfSwiftKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.SwiftS3(t) }, Open: open})
}

func TestAURLIsAConfiguration(t *testing.T) {
	mine := httpstore.Credentials{User: "me", Secret: secret.Bytes("s/3:c@r%t")}
	for text, want := range map[string]s3.Config{
		"s3://me:s%2F3%3Ac%40r%25t@s3.example.com/bucket": {Host: "s3.example.com", Bucket: "bucket", Credentials: mine},
		"s3://127.0.0.1:9000/bucket/?region=eu-1&insecure=true&path-style=true&ca=/etc/ca.pem": {
			Host: "127.0.0.1:9000", Bucket: "bucket", Region: "eu-1", Insecure: true, Style: s3.Path, CAFile: "/etc/ca.pem",
		},
		"s3://s3.example.com/bucket?path-style=false&insecure=false": {Host: "s3.example.com", Bucket: "bucket", Style: s3.VirtualHost},
	} {
		got, err := s3.ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(httpstore.Credentials.Equal)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"swift://me:secret@host/bucket", "s3://me:secret@host/bucket?insecure=perhaps", "s3://me:secret@host/bucket?path-style=x", "s3://me:secret@host/bucket?tenant=t",
	} {
		_, err := s3.ParseURL(text)
		fails(t, text, err, fault.Usage)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	good := s3.Config{Host: "host", Bucket: "bucket", Credentials: httpstore.Credentials{User: "me", Secret: secret.Bytes("secret")}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*s3.Config){
		"no host":   func(c *s3.Config) { c.Host = "" },
		"no bucket": func(c *s3.Config) { c.Bucket = "" },
		"no user":   func(c *s3.Config) { c.Credentials.User = "" },
		"no secret": func(c *s3.Config) { c.Credentials.Secret = nil },
	} {
		c := good
		spoil(&c)
		_, err := s3.Open(t.Context(), c)
		fails(t, name, err, fault.Usage)
	}
	good.CAFile = "nowhere"
	_, err := s3.Open(t.Context(), good)
	fails(t, "no such file", err, fault.Usage)
}

// BenchmarkPut stores full packs, of whole blocks and of small ones.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{512 << 10, 2 << 10} {
		b.Run(fmt.Sprintf("blocks of %d KiB", size>>10), func(b *testing.B) {
			s := openConfig(b, config(b, services.S3(b)))
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
			s := openConfig(b, config(b, services.S3(b)))
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
