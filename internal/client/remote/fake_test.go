package remote_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"go.uber.org/goleak"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/remote"
	"parsec/internal/format/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server of which a test writes the parts that it needs. The rest
// answers that it is not implemented.
type fake struct {
	parsecv1connect.UnimplementedServerServiceHandler
	parsecv1connect.UnimplementedInvitationServiceHandler
	parsecv1connect.UnimplementedClaimServiceHandler
	organization
	workspace

	info func() (*parsecv1.InfoResponse, error)
}

func (f *fake) Info(context.Context, *parsecv1.InfoRequest) (*parsecv1.InfoResponse, error) {
	if f.info == nil {
		return &parsecv1.InfoResponse{Suite: "parsec/v1", Version: "fake", Time: time.Now().UnixNano()}, nil
	}
	return f.info()
}

type organization struct {
	parsecv1connect.UnimplementedOrganizationServiceHandler
	append     func(*parsecv1.OrganizationAppendRequest) (*parsecv1.Appended, error)
	bootstrap  func(*parsecv1.BootstrapRequest) (*parsecv1.Appended, error)
	pull       func(*parsecv1.OrganizationPullRequest, parsecv1connect.OrganizationServicePullServerStream) error
	subscribe  func(context.Context, parsecv1connect.OrganizationServiceSubscribeServerStream) error
	workspaces func() (*parsecv1.ListWorkspacesResponse, error)
	manifest   func() (*parsecv1.GetUserManifestResponse, error)
}

func (f *organization) Append(_ context.Context, q *parsecv1.OrganizationAppendRequest) (*parsecv1.Appended, error) {
	return f.append(q)
}

func (f *organization) Bootstrap(_ context.Context, q *parsecv1.BootstrapRequest) (*parsecv1.Appended, error) {
	return f.bootstrap(q)
}

func (f *organization) Pull(_ context.Context, q *parsecv1.OrganizationPullRequest, s parsecv1connect.OrganizationServicePullServerStream) error {
	return f.pull(q, s)
}

func (f *organization) Subscribe(ctx context.Context, _ *parsecv1.SubscribeRequest, s parsecv1connect.OrganizationServiceSubscribeServerStream) error {
	return f.subscribe(ctx, s)
}

func (f *organization) ListWorkspaces(context.Context, *parsecv1.ListWorkspacesRequest) (*parsecv1.ListWorkspacesResponse, error) {
	return f.workspaces()
}

func (f *organization) GetUserManifest(context.Context, *parsecv1.GetUserManifestRequest) (*parsecv1.GetUserManifestResponse, error) {
	return f.manifest()
}

type workspace struct {
	parsecv1connect.UnimplementedWorkspaceServiceHandler
	commit    func(*parsecv1.CommitRequest) (*parsecv1.Appended, error)
	grants    func() (*parsecv1.GrantsResponse, error)
	manifests func(*parsecv1.ManifestsRequest, parsecv1connect.WorkspaceServiceManifestsServerStream) error
	entries   func(*parsecv1.EntryManifestsRequest, parsecv1connect.WorkspaceServiceEntryManifestsServerStream) error
	versions  func(*parsecv1.EntryVersionsRequest, parsecv1connect.WorkspaceServiceEntryVersionsServerStream) error
}

func (f *workspace) Commit(_ context.Context, q *parsecv1.CommitRequest) (*parsecv1.Appended, error) {
	return f.commit(q)
}

func (f *workspace) Grants(context.Context, *parsecv1.GrantsRequest) (*parsecv1.GrantsResponse, error) {
	return f.grants()
}

func (f *workspace) Manifests(_ context.Context, q *parsecv1.ManifestsRequest, s parsecv1connect.WorkspaceServiceManifestsServerStream) error {
	return f.manifests(q, s)
}

func (f *workspace) EntryManifests(_ context.Context, q *parsecv1.EntryManifestsRequest, s parsecv1connect.WorkspaceServiceEntryManifestsServerStream) error {
	return f.entries(q, s)
}

func (f *workspace) EntryVersions(_ context.Context, q *parsecv1.EntryVersionsRequest, s parsecv1connect.WorkspaceServiceEntryVersionsServerStream) error {
	return f.versions(q, s)
}

// handler serves a fake.
func (f *fake) handler() *http.ServeMux {
	server := connect.NewServer()
	parsecv1connect.RegisterServerServiceHandler(server, f)
	parsecv1connect.RegisterOrganizationServiceHandler(server, &f.organization)
	parsecv1connect.RegisterWorkspaceServiceHandler(server, &f.workspace)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(16<<20))
	return mux
}

// serve runs a handler on a port of its own until the test ends.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// device is the identity of a test, with what a server knows of it.
type device struct {
	remote.Identity
	public ed25519.PublicKey
}

func newDevice() device {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return device{
		Identity: remote.Identity{Organization: id.Fingerprint{7}, Device: id.New[id.Device](), Key: secret.Bytes(private)},
		public:   private.Public().(ed25519.PublicKey),
	}
}

// quick makes tests of repetition quick.
func quick() remote.Config {
	return remote.Config{Retry: remote.Retry{Attempts: 3, First: time.Millisecond}}
}

// client returns a client of a server, closed when the test ends.
func client(t *testing.T, server string, cfg remote.Config) *remote.Client {
	t.Helper()
	c, err := remote.New(server, newDevice().Identity, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// refuse returns a refusal as the server makes them.
func refuse(kind fault.Kind, message string, detail *parsecv1.Refusal) error {
	if detail.Kind == "" {
		detail.Kind = kind.String()
	}
	return connect.NewError(connect.Code(kind.RPC()), message).WithDetail(packed(detail))
}

func packed(r *parsecv1.Refusal) *connect.ErrorDetail {
	d, err := connectproto.NewErrorDetail(r)
	if err != nil {
		panic(err)
	}
	return d
}

// discardLog keeps the expected complaints of a test's server out of its output.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// at returns a position at an index.
func at(index uint64) *parsecv1.Position {
	return &parsecv1.Position{Index: index, Head: make([]byte, 32)}
}

// wantKind fails the test unless err is of a kind.
func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Fatalf("got %v (%v), want an error of kind %v", err, fault.KindOf(err), want)
	}
}

// gate checks the token of each request as the server does, by a clock.
type gate struct {
	t      *testing.T
	device device
	now    func() time.Time
	next   http.Handler

	mu   sync.Mutex
	seen []string
}

// ServeHTTP refuses what is not signed by the device, and nothing of the server's information.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.seen = append(g.seen, r.URL.Path)
	g.mu.Unlock()
	if r.URL.Path == parsecv1connect.ServerServiceInfoProcedure {
		g.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Error(err)
	}
	r.Body = io.NopCloser(bytesReader(body))
	token, err := request.Parse(r.Header.Get(request.Header))
	if err == nil {
		err = token.Check(request.What{Method: r.Method, Path: r.URL.RequestURI(), Body: signedPart(r, body)}, g.device.public, g.now())
	}
	if err != nil {
		_ = connecthttp.NewErrorWriter().Write(w, r, refuse(fault.KindOf(err), err.Error(), &parsecv1.Refusal{}))
		return
	}
	g.next.ServeHTTP(w, r)
}

// signedPart is the digest that a token covers: of the body, or of an upload's header.
func signedPart(r *http.Request, body []byte) [32]byte {
	if r.URL.Path == "/blocks/upload" {
		n := int(body[0])<<24 | int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		body = body[4 : 4+n]
	}
	return sha256.Sum256(body)
}
