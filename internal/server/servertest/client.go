package servertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/request"
	"parsec/internal/verify/verifytest"
)

// Client speaks a server's API as it is on the wire, without retrying or
// verifying anything.
type Client struct {
	Server       parsecv1connect.ServerServiceClient
	Organization parsecv1connect.OrganizationServiceClient
	Workspace    parsecv1connect.WorkspaceServiceClient
	Invitation   parsecv1connect.InvitationServiceClient
	Claim        parsecv1connect.ClaimServiceClient
	Admin        parsecv1connect.AdminServiceClient
	// HTTP is what the client sends with.
	HTTP *http.Client
	url  string
}

// Dial returns a client that signs as a device, or for nil as nobody.
func Dial(url string, f id.Fingerprint, d *verifytest.Device) *Client {
	return DialWith(url, func(r *http.Request, body []byte) {
		if d != nil {
			Sign(r, f, d, time.Now(), sha256.Sum256(body))
		}
	})
}

// DialAdmin returns a client that has a bearer token.
func DialAdmin(url, token string) *Client {
	return DialWith(url, func(r *http.Request, _ []byte) { r.Header.Set("Authorization", "Bearer "+token) })
}

// DialWith returns a client whose requests are made ready by prepare.
func DialWith(url string, prepare func(r *http.Request, body []byte)) *Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	c := &Client{url: url, HTTP: &http.Client{Transport: preparing{transport, prepare}}}
	rpc := connect.NewClient(connecthttp.NewTransport(c.HTTP, url,
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()), connecthttp.WithCompressors()))
	c.Server = parsecv1connect.NewServerServiceClient(rpc)
	c.Organization = parsecv1connect.NewOrganizationServiceClient(rpc)
	c.Workspace = parsecv1connect.NewWorkspaceServiceClient(rpc)
	c.Invitation = parsecv1connect.NewInvitationServiceClient(rpc)
	c.Claim = parsecv1connect.NewClaimServiceClient(rpc)
	c.Admin = parsecv1connect.NewAdminServiceClient(rpc)
	return c
}

// Dialer has the client connect in another way, and trust authorities, by
// HTTP/2 where it is offered.
func (c *Client) Dialer(d *net.Dialer, trusted *x509.CertPool) {
	t := c.HTTP.Transport.(preparing).Transport
	t.DialContext, t.ForceAttemptHTTP2 = d.DialContext, true
	t.TLSClientConfig = &tls.Config{RootCAs: trusted}
}

// Close releases the client's connections.
func (c *Client) Close() { c.HTTP.CloseIdleConnections() }

// Sign puts a device's request token over a digest into a request.
func Sign(r *http.Request, f id.Fingerprint, d *verifytest.Device, at time.Time, digest [32]byte) {
	what := request.What{Method: r.Method, Path: r.URL.RequestURI(), Body: digest}
	r.Header.Set(request.Header, request.Sign(f, d.ID, at, what, d.Signing))
}

// preparing makes each request ready with the whole of its body at hand.
type preparing struct {
	*http.Transport
	prepare func(r *http.Request, body []byte)
}

// RoundTrip sends a request.
func (p preparing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, errors.Join(err, r.Body.Close())
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	p.prepare(r, covered(r, body))
	return p.Transport.RoundTrip(r)
}

// covered returns the part of a body that a request token is over.
func covered(r *http.Request, body []byte) []byte {
	if r.URL.Path != pack.UploadPath {
		return body
	}
	if header, err := pack.ReadHeader(bytes.NewReader(body)); err == nil {
		return header
	}
	return body
}

// UploadBody returns the body of an upload.
func UploadBody(h pack.Header, content []byte) []byte {
	var b bytes.Buffer
	_ = pack.WriteHeader(&b, h.Encode()) // a buffer takes everything
	b.Write(content)
	return b.Bytes()
}

// Upload sends blocks.
func (c *Client) Upload(ctx context.Context, h pack.Header, content []byte) error {
	answer, err := c.post(ctx, pack.UploadPath, UploadBody(h, content))
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Download fetches blocks.
func (c *Client) Download(ctx context.Context, q pack.Request) (blocks map[id.Block][]byte, err error) {
	answer, err := c.post(ctx, pack.DownloadPath, q.Encode())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	blocks = map[id.Block][]byte{}
	for {
		b, sealed, err := pack.ReadFrame(answer.Body, func(n int) []byte { return make([]byte, n) })
		if err != nil || b.IsZero() {
			return blocks, err
		}
		blocks[b] = sealed
	}
}

func (c *Client) post(ctx context.Context, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", pack.MediaType)
	answer, err := c.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, PlainRefusal(answer)
}

// PlainRefusal returns the error with which a plain HTTP endpoint refused.
func PlainRefusal(answer *http.Response) error {
	var refusal struct{ Kind, Error, Hint string }
	if err := json.NewDecoder(answer.Body).Decode(&refusal); err != nil {
		return err
	}
	return &fault.Error{Kind: kind(refusal.Kind), Hint: refusal.Hint, Err: errors.New(refusal.Error)}
}

// Refusal returns the detail of an RPC's error, and the error with its kind.
func Refusal(err error) (*parsecv1.Refusal, error) {
	said, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return nil, err
	}
	for _, d := range said.Details() {
		m, unpacking := connectproto.UnmarshalErrorDetail(d)
		if r, ok := m.(*parsecv1.Refusal); ok && unpacking == nil {
			return r, &fault.Error{Kind: kind(r.GetKind()), Hint: r.GetHint(), Err: said}
		}
	}
	return nil, err
}

func kind(name string) fault.Kind {
	for _, k := range fault.Kinds() {
		if k.String() == name {
			return k
		}
	}
	return fault.Failed
}
