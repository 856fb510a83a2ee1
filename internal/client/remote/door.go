package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/format/request"
)

// door is where requests leave and answers come in. It is the HTTP client of
// the RPC library and of block transfer: it signs what goes out, and lets in
// only what a Parsec server answers. It follows no redirects and keeps no
// cookies.
type door struct {
	server    string
	who       *Identity // nil for guests
	meter     *Meter
	transport *http.Transport
	// offset is how far the server's clock is ahead of this one, in nanoseconds.
	offset atomic.Int64
}

func newDoor(server string, who *Identity, cfg Config) *door {
	d := &door{server: server, who: who, meter: cfg.Meter}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	d.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return metered{conn, cfg.Meter}, nil
		},
		Proxy:               proxyBut(cfg.Proxy),
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Roots},
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second},
		TLSHandshakeTimeout: 10 * time.Second,
		// As many as block streams, pulls and the event stream use at once.
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
	}
	return d
}

// proxyBut returns a choice of proxies that leaves out this machine.
func proxyBut(choose func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if choose == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) {
		host := r.URL.Hostname()
		if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
			return nil, nil
		}
		return choose(r)
	}
}

// Do sends a request of the RPC library.
func (d *door) Do(r *http.Request) (*http.Response, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r.Body); err != nil {
		return nil, fault.Errorf(fault.Failed, "sign request: %w", err)
	}
	again, err := r.GetBody()
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "sign request: %w", err)
	}
	r.Body = again
	return d.send(r, [sha256.Size]byte(h.Sum(nil)))
}

// send signs a request over a digest, sends it, and returns the answer if it
// is one that the request asks for, or a refusal. The request's context has a
// watch, which counts on from here. All errors are of package fault.
func (d *door) send(r *http.Request, digest [sha256.Size]byte) (*http.Response, error) {
	d.prepare(r, digest)
	d.meter.requests.Add(1)
	answer, err := d.transport.RoundTrip(r)
	if err != nil {
		return nil, unreachable(d.server, err)
	}
	answer.Body = receiving{answer.Body, watchOf(r.Context())}
	if err := d.admit(r, answer); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer, nil
}

func (d *door) prepare(r *http.Request, digest [sha256.Size]byte) {
	w := watchOf(r.Context())
	rewind := r.GetBody
	r.Body = sending{r.Body, w}
	r.GetBody = func() (io.ReadCloser, error) {
		body, err := rewind()
		return sending{body, w}, err
	}
	r.Header.Set("User-Agent", "parsec")
	// Lets the transport repeat a request by itself when an idle connection
	// turns out to be closed. An empty list is not sent.
	r.Header["Idempotency-Key"] = []string{}
	if d.who != nil {
		now := time.Now().Add(time.Duration(d.offset.Load()))
		what := request.What{Method: r.Method, Path: r.URL.RequestURI(), Body: digest}
		r.Header.Set(request.Header,
			request.Sign(d.who.Organization, d.who.Device, now, what, ed25519.PrivateKey(d.who.Key)))
	}
}

// admit lets in a success of the media type that was sent, and refusals.
func (d *door) admit(r *http.Request, answer *http.Response) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	asked, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch encoding := answer.Header.Get("Content-Encoding"); {
	case encoding != "" && encoding != "identity":
		return malformed("encoded as %q, which was not asked for", clean(encoding))
	case answer.StatusCode == http.StatusOK && kind == asked:
		return nil
	case answer.StatusCode >= 400 && kind == "application/json":
		return crowded(answer)
	}
	return stranger(d.server, answer)
}
