package s3

import (
	"context"
	"net"
	"net/url"

	"github.com/minio/minio-go/v7"

	"parsec/internal/base/fault"
	"parsec/internal/server/httpstore"
)

// Style is where the bucket's name stands in a request's URL.
type Style uint8

const (
	// Automatic is as a virtual host for the services of Amazon, Google and
	// Aliyun, and in the path for all others.
	Automatic Style = iota
	// Path is in the path: HOST/BUCKET/OBJECT.
	Path
	// VirtualHost is as a part of the host's name: BUCKET.HOST/OBJECT.
	VirtualHost
)

func (s Style) lookup() minio.BucketLookupType {
	switch s {
	case Path:
		return minio.BucketLookupPath
	case VirtualHost:
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// Config says where the bucket is. It does not print its credentials.
type Config struct {
	// Host is the service's, with a port where it is not the scheme's own.
	Host   string
	Bucket string
	// Region is the bucket's; default us-east-1, which services without
	// regions expect.
	Region      string
	Style       Style
	Credentials httpstore.Credentials
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

// ParseURL reads s3://KEY:SECRET@HOST/BUCKET?region=R, with insecure=true,
// path-style=true or false, and ca=FILE where needed. Its parts are
// percent-encoded. Without KEY:SECRET the credentials are left empty.
func ParseURL(text string) (Config, error) {
	a, err := httpstore.ParseAddress(text, "s3", "region", "insecure", "path-style", "ca")
	if err != nil {
		return Config{}, err
	}
	c := Config{Host: a.Host, Bucket: a.Name, Region: a.Value("region"), Credentials: a.Credentials, CAFile: a.Value("ca")}
	if c.Insecure, err = a.Bool("insecure"); err != nil {
		return Config{}, err
	}
	path, err := a.Bool("path-style")
	switch {
	case err != nil:
		return Config{}, err
	case path:
		c.Style = Path
	case a.Has("path-style"):
		c.Style = VirtualHost
	}
	return c, nil
}

// WithEnvironment returns the configuration with the credentials of
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where it has none itself.
func (c Config) WithEnvironment(lookup func(string) (string, bool)) Config {
	c.Credentials = c.Credentials.OrFromEnvironment(lookup, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
	return c
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Host == "":
		return fault.Errorf(fault.Usage, "an S3 store without a host")
	case c.Bucket == "":
		return fault.Errorf(fault.Usage, "open %s: it names no bucket", c)
	case c.Credentials.User == "" || len(c.Credentials.Secret) == 0:
		return fault.WithHint(fault.Errorf(fault.Usage, "open %s: it has no credentials", c),
			"write them into the URL as s3://KEY:SECRET@..., or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return nil
}

func (c Config) region() string {
	if c.Region == "" {
		return "us-east-1"
	}
	return c.Region
}

func (c Config) network() httpstore.Network {
	return httpstore.Network{Insecure: c.Insecure, CAFile: c.CAFile, Dial: c.Dial}
}

// String returns where the bucket is, without credentials.
func (c Config) String() string {
	return (&url.URL{Scheme: "s3", Host: c.Host, Path: c.Bucket}).String()
}

// GoString returns what String does.
func (c Config) GoString() string { return c.String() }
