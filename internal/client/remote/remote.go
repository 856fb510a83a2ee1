// Package remote is the client of the server's API: plain methods in front of
// Connect and HTTP. It signs each request with the device's key, bounds what
// it takes and how long it waits, repeats what a network lost, and tells
// failures apart by the kinds of package fault.
//
// The server is not trusted with anything here, and nothing is verified here
// either. What comes back has the right shape (lengths, counts, identifiers
// that were asked for) and is otherwise as the server says; records, manifests
// and blocks are verified by whoever asked for them. No answer makes this
// package panic, wait without end or take more than a bounded amount of
// memory, and no refusal has a kind that only this side may find, such as a
// broken promise.
//
// Everything that the API offers may be sent twice: a record is recognised by
// its digest, a block is never overwritten, a turn of an enrollment is kept
// once. So every request is repeated, byte for byte, when its answer is lost.
package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/invitation"
)

// suite is the one set of algorithms and formats that this program speaks.
const suite = "parsec/v1"

// Identity is the device on whose behalf requests are signed.
type Identity struct {
	Organization id.Fingerprint
	Device       id.Device
	// Key is the device's signing key, an [ed25519.PrivateKey].
	Key secret.Bytes
}

// Config is how a client behaves. The zero Config is a sensible one.
type Config struct {
	Retry Retry
	// Patience is how long the server may be silent before a request counts
	// as unanswered; default 30 s. Where the server may well take long, as for
	// a commit, it is a multiple of that.
	Patience time.Duration
	// Meter counts what goes over the wire; nil for one of the client's own.
	Meter *Meter
	// Proxy chooses the proxy of a request, such as [http.ProxyFromEnvironment];
	// nil for none. It is not asked for addresses of this machine.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are the certificate authorities that vouch for the server; nil for
	// those of the system.
	Roots *x509.CertPool
	// Dial makes connections; nil for TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// wire is what a [Client] and a [Guest] have in common: one server, and how to
// speak with it.
type wire struct {
	server   string
	retry    Retry
	patience time.Duration
	door     *door
	meter    *Meter
	services *connect.Client
	info     parsecv1connect.ServerServiceClient
	// offset is how far the server's clock is ahead of this one.
	offset *atomic.Int64
}

func newWire(server string, who *Identity, cfg Config) (*wire, error) {
	base, err := checkServer(server)
	if err != nil {
		return nil, err
	}
	if cfg.Meter == nil {
		cfg.Meter = new(Meter)
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	d := newDoor(base, who, cfg)
	services := connect.NewClient(connecthttp.NewTransport(d, base,
		connecthttp.WithCodecs(careful{connectproto.NewBinaryCodec()}),
		connecthttp.WithCompressors(), // what is sealed does not compress, and what is not may be a bomb
		connecthttp.WithConditionalOptions(func(spec connect.Spec) []connecthttp.Option {
			return []connecthttp.Option{connecthttp.WithReadMaxBytes(limitOf(spec))}
		}),
	))
	return &wire{
		server:   base,
		retry:    cfg.Retry.withDefaults(),
		patience: cfg.Patience,
		door:     d,
		meter:    cfg.Meter,
		services: services,
		info:     parsecv1connect.NewServerServiceClient(services),
		offset:   &d.offset,
	}, nil
}

func limitOf(spec connect.Spec) int {
	if spec.StreamType == connect.StreamTypeUnary {
		return maxAnswer
	}
	return maxMessage
}

// checkServer returns a server's address in the form in which it is used.
func checkServer(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.WithHint(fault.Errorf(fault.Usage, "%q is not the address of a server", clean(server)),
			"an address looks like https://parsec.example.org")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Server returns the server's address.
func (w *wire) Server() string { return w.server }

// Meter returns the meter that counts this client's traffic.
func (w *wire) Meter() *Meter { return w.meter }

// Close closes idle connections. Requests under way are ended by their contexts.
func (w *wire) Close() { w.door.transport.CloseIdleConnections() }

// Info is what a server says about itself.
type Info struct {
	Version string
	// Time is the server's clock. It corrects request tokens and nothing else.
	Time time.Time
}

// Info asks whether this is a Parsec server that this program can speak with.
func (w *wire) Info(ctx context.Context) (Info, error) {
	return unary(ctx, w, "ask for the server's version", w.patience, w.info.Info, &parsecv1.InfoRequest{},
		func(m *parsecv1.InfoResponse) (Info, error) {
			if m.GetSuite() != suite {
				return Info{}, fault.WithHint(
					fault.Errorf(fault.Upgrade, "%s speaks %q, this program %q", w.server, clean(m.GetSuite()), suite),
					"use the version of this program that fits the server")
			}
			return Info{Version: clean(m.GetVersion()), Time: time.Unix(0, m.GetTime())}, nil
		})
}

// correct learns by how much to correct the time of request tokens.
func (w *wire) correct(ctx context.Context) error {
	asked := time.Now()
	info, err := w.Info(ctx)
	if err != nil {
		return err
	}
	answered := time.Now()
	w.offset.Store(int64(info.Time.Sub(asked.Add(answered.Sub(asked) / 2))))
	return nil
}

// Client speaks with a server on behalf of a device. It is safe for
// concurrent use.
type Client struct {
	*wire
	organization parsecv1connect.OrganizationServiceClient
	workspace    parsecv1connect.WorkspaceServiceClient
	invitation   parsecv1connect.InvitationServiceClient
	buffers      buffers
}

// New returns a client of the server at an address. It makes no request.
func New(server string, who Identity, cfg Config) (*Client, error) {
	if len(who.Key) != ed25519.PrivateKeySize || who.Organization.IsZero() || who.Device.IsZero() {
		return nil, fault.Errorf(fault.Usage, "speak with a server: no device to speak for")
	}
	w, err := newWire(server, &who, cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		wire:         w,
		organization: parsecv1connect.NewOrganizationServiceClient(w.services),
		workspace:    parsecv1connect.NewWorkspaceServiceClient(w.services),
		invitation:   parsecv1connect.NewInvitationServiceClient(w.services),
	}, nil
}

// Guest speaks with a server on behalf of somebody who holds nothing but a
// link: to an invitation, or to the bootstrap of an organization. It is safe
// for concurrent use.
type Guest struct {
	*wire
	link         invitation.Link
	organization parsecv1connect.OrganizationServiceClient
	claim        parsecv1connect.ClaimServiceClient
}

// NewGuest returns a client of the server that a link names. It makes no request.
func NewGuest(link invitation.Link, cfg Config) (*Guest, error) {
	w, err := newWire(link.Server, nil, cfg)
	if err != nil {
		return nil, err
	}
	return &Guest{
		wire:         w,
		link:         link,
		organization: parsecv1connect.NewOrganizationServiceClient(w.services),
		claim:        parsecv1connect.NewClaimServiceClient(w.services),
	}, nil
}
