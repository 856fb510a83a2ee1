package rpc

import (
	"net/netip"
	"time"
)

// Config bounds what the server gives to whoever asks. A zero field means the
// default beside it.
type Config struct {
	// Version is what the server says that it is.
	Version string
	// Now is the server's clock; default time.Now.
	Now func() time.Time

	// RequestTime bounds a request with one answer; default 30 s.
	RequestTime time.Duration
	// CommitTime bounds an append or a commit; default 60 s.
	CommitTime time.Duration
	// TransferTime bounds the upload or download of blocks; default 10 min.
	TransferTime time.Duration
	// StreamTime bounds a stream of records or manifests; default 1 h.
	StreamTime time.Duration
	// StallTime is how long a single read from, or write to, a client may
	// take before the connection is cut; default 30 s.
	StallTime time.Duration
	// PollTime is how long a turn of an enrollment waits for the other side;
	// default 30 s.
	PollTime time.Duration
	// Beat is the time between two beats of an event stream; default 30 s.
	Beat time.Duration

	// StopTime is how long a server that stops waits for what is in flight;
	// default 30 s.
	StopTime time.Duration

	// BodyMemory is the most memory for request bodies, of all known callers
	// together; default 64 MiB: four commits of the largest size at once.
	BodyMemory int64
	// OpenMemory is the same for calls that need no proof; default 8 MiB: four
	// bootstraps, or a hundred turns of enrollments, at once.
	OpenMemory int64
	// Waiters is how many requests may wait for memory; default 1,000.
	Waiters int

	// The rates are in requests a second, with what may come at once.

	// AddressRate is for each address before anything else is looked at;
	// default 1,000 and 2,000, for an office behind one address.
	AddressRate  float64
	AddressBurst int
	// DeviceRate is for each device; default 200 and 1,000.
	DeviceRate  float64
	DeviceBurst int
	// OpenRate is for each address, on calls that need no proof: information,
	// bootstrap, claiming, and administration; default 10 and 50.
	OpenRate  float64
	OpenBurst int
	// TokenRate is for each token of an invitation; default 5 and 50.
	TokenRate  float64
	TokenBurst int
	// Connections is how many may be open at once; more wait. Default 20,000:
	// ten thousand devices with an event stream and a request each.
	Connections int
	// Streams is how many event streams one device may hold; default 8.
	Streams int

	// Proxies are the networks of reverse proxies whose word for the address
	// of a client is taken; default none.
	Proxies []netip.Prefix
	// ProxyHeader is the header in which they say it: X-Forwarded-For, which
	// is the default, or Forwarded. Only one is looked at: a proxy passes on
	// the other as the client sent it.
	ProxyHeader string
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	orDefault(&c.Version, "unknown")
	orDefault(&c.RequestTime, 30*time.Second)
	orDefault(&c.CommitTime, time.Minute)
	orDefault(&c.TransferTime, 10*time.Minute)
	orDefault(&c.StreamTime, time.Hour)
	orDefault(&c.StallTime, 30*time.Second)
	orDefault(&c.ProxyHeader, "X-Forwarded-For")
	orDefault(&c.PollTime, 30*time.Second)
	orDefault(&c.Beat, 30*time.Second)
	orDefault(&c.StopTime, 30*time.Second)
	orDefault(&c.BodyMemory, 64<<20)
	orDefault(&c.OpenMemory, 8<<20)
	orDefault(&c.Waiters, 1000)
	orDefault(&c.AddressRate, 1000)
	orDefault(&c.AddressBurst, 2000)
	orDefault(&c.DeviceRate, 200)
	orDefault(&c.DeviceBurst, 1000)
	orDefault(&c.OpenRate, 10)
	orDefault(&c.OpenBurst, 50)
	orDefault(&c.TokenRate, 5)
	orDefault(&c.TokenBurst, 50)
	orDefault(&c.Connections, 20_000)
	orDefault(&c.Streams, 8)
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
