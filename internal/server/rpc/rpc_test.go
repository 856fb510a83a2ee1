package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
	"parsec/internal/verify/verifytest"
)

// office is a server with an organization and a workspace of its administrator.
type office struct {
	*servertest.Server
	kit   *verifytest.Kit
	w     *verifytest.Workspace
	admin *servertest.Client
	log   *lockedBuffer
}

// lockedBuffer is a buffer that handlers write to at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func newOffice(t *testing.T, c servertest.Config) *office {
	t.Helper()
	o := &office{log: new(lockedBuffer)}
	c.Log = o.log
	o.Server = servertest.Start(t, c)
	o.kit = servertest.Bootstrap(t, o.Server)
	o.admin = o.dial(t, o.kit.Admin)
	o.w = o.kit.CreateWorkspace(o.kit.Admin)
	o.bring(t, o.admin)
	return o
}

func (o *office) dial(t *testing.T, d *verifytest.Device) *servertest.Client {
	t.Helper()
	c := servertest.Dial(o.URL, o.kit.Fingerprint(), d)
	t.Cleanup(c.Close)
	return c
}

// bring brings the workspace's newest record to the server.
func (o *office) bring(t *testing.T, by *servertest.Client) {
	t.Helper()
	if _, err := by.Workspace.Append(t.Context(), servertest.AppendRequest(t, o.kit, o.w, o.w.Records[len(o.w.Records)-1])); err != nil {
		t.Fatal(err)
	}
}

// addUser adds a user, who becomes a member of the workspace.
func (o *office) addUser(t *testing.T, role record.Role) (*verifytest.Device, *servertest.Client) {
	t.Helper()
	d := o.kit.AddUser(record.ProfileStandard)
	if _, err := o.admin.Organization.Append(t.Context(), servertest.AddRequest(o.kit, &d.Opening)); err != nil {
		t.Fatal(err)
	}
	o.w.Share(o.kit.Admin, d, role)
	o.bring(t, o.admin)
	return d, o.dial(t, d)
}

func TestEverythingGoesOverTheWire(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	ctx := t.Context()
	bob, client := o.addUser(t, record.RoleContributor)
	h, content, ids := servertest.Upload(o.w.ID, []byte("one"), bytes.Repeat([]byte("two"), 1<<18))
	if err := client.Upload(ctx, h, content); err != nil {
		t.Fatal(err)
	}
	put := o.w.New()
	o.w.Commit(bob, put)
	raw := o.w.Records[len(o.w.Records)-1]
	got, err := client.Workspace.Commit(ctx, servertest.CommitRequest(t, o.kit, o.w, raw, ids...))
	if want := o.w.State.Position(); err != nil || got.GetPosition().GetIndex() != want.Index || !bytes.Equal(got.GetPosition().GetHead(), want.Head[:]) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	blocks, err := o.admin.Download(ctx, pack.Request{Workspace: o.w.ID, Blocks: ids})
	want := map[id.Block][]byte{ids[0]: []byte("one"), ids[1]: bytes.Repeat([]byte("two"), 1<<18)}
	if err != nil || !maps.EqualFunc(blocks, want, bytes.Equal) {
		t.Errorf("got %d blocks, %v", len(blocks), err)
	}
	if diff := cmp.Diff(o.w.Records, pulled(t, client, o.w.ID)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	manifests, err := client.Workspace.Manifests(ctx, &parsecv1.ManifestsRequest{Workspace: o.w.ID.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifests.Receive()
	if err != nil || len(m.GetChains()) != 1 || !bytes.Equal(m.GetChains()[0].GetEntry(), put.Entry[:]) {
		t.Fatalf("got %v, %v", m, err)
	}
	if _, err := manifests.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last manifest: %v", err)
	}
	again, err := client.Workspace.Manifests(ctx, &parsecv1.ManifestsRequest{Workspace: o.w.ID.Bytes(), Cursor: m.GetCursor()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the cursor: %v", err)
	}
	list, err := client.Organization.ListWorkspaces(ctx, &parsecv1.ListWorkspacesRequest{})
	if err != nil || len(list.GetWorkspaces()) != 1 || list.GetWorkspaces()[0].GetIndex() != o.w.State.Position().Index {
		t.Errorf("got %v, %v", list, err)
	}
}

func pulled(t *testing.T, c *servertest.Client, w id.Workspace) [][]byte {
	t.Helper()
	stream, err := c.Workspace.Pull(t.Context(), &parsecv1.WorkspacePullRequest{Workspace: w.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.GetRecords()...)
	}
}

func TestARefusalSaysItsKindOnEveryRoad(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	bob, client := o.addUser(t, record.RoleReader)
	stale := o.w.Sign(o.kit.Admin, o.w.Changes(o.w.New()), verifytest.SeenWorkspace(o.w.Positions[0]))
	missing := servertest.CommitRequest(t, o.kit, o.w, o.w.Sign(o.kit.Admin, o.w.Changes(o.w.New())), id.New[id.Block]())
	h, content, ids := servertest.Upload(o.w.ID, []byte("x"))
	stranger := o.dial(t, o.kit.NewDevice(bob))
	for _, c := range []struct {
		name string
		do   func(context.Context) error
		want fault.Kind
	}{
		{"a stale commit", func(ctx context.Context) error {
			_, err := o.admin.Workspace.Commit(ctx, servertest.CommitRequest(t, o.kit, o.w, stale))
			r, _ := servertest.Refusal(err)
			if got := r.GetStale(); got.GetPosition().GetIndex() != 2 || len(got.GetRecords()) != 1 || got.GetOrganization().GetIndex() != 2 {
				t.Errorf("detail %v", got)
			}
			return err
		}, fault.Stale},
		{"missing blocks", func(ctx context.Context) error {
			_, err := o.admin.Workspace.Commit(ctx, missing)
			r, _ := servertest.Refusal(err)
			if got := r.GetMissing().GetBlocks(); len(got) != 1 || !bytes.Equal(got[0], missing.GetBlocks()) {
				t.Errorf("detail %x", got)
			}
			return err
		}, fault.Missing},
		{"a reader's upload", func(ctx context.Context) error { return client.Upload(ctx, h, content) }, fault.Denied},
		{"a block that is not there", func(ctx context.Context) error {
			_, err := client.Download(ctx, pack.Request{Workspace: o.w.ID, Blocks: ids})
			return err
		}, fault.NotFound},
		{"a workspace that is not there", func(ctx context.Context) error {
			_, err := client.Workspace.Grants(ctx, &parsecv1.GrantsRequest{Workspace: id.New[id.Workspace]().Bytes()})
			return err
		}, fault.Denied},
		{"an id of another length", func(ctx context.Context) error {
			_, err := client.Workspace.Grants(ctx, &parsecv1.GrantsRequest{Workspace: []byte("short")})
			return err
		}, fault.Invalid},
		{"a stream for a stranger", func(ctx context.Context) error {
			stream, err := stranger.Workspace.Pull(ctx, &parsecv1.WorkspacePullRequest{Workspace: o.w.ID.Bytes()})
			if err == nil {
				_, err = stream.Receive()
			}
			return err
		}, fault.Unauthenticated},
		{"an upload of a stranger", func(ctx context.Context) error { return stranger.Upload(ctx, h, content) }, fault.Unauthenticated},
		{"administration by a device", func(ctx context.Context) error {
			_, err := client.Admin.ListOrganizations(ctx, &parsecv1.ListOrganizationsRequest{})
			return err
		}, fault.Unauthenticated},
		{"administration with another token", func(ctx context.Context) error {
			_, err := servertest.DialAdmin(o.URL, "guess").Admin.ListOrganizations(ctx, &parsecv1.ListOrganizationsRequest{})
			return err
		}, fault.Unauthenticated},
		{"an invitation that is not there", func(ctx context.Context) error {
			f := o.kit.Fingerprint()
			_, err := stranger.Claim.GetInvitation(ctx, &parsecv1.GetInvitationRequest{Token: id.New[id.Token]().Bytes(), Organization: f[:]})
			return err
		}, fault.NotFound},
	} {
		err := c.do(t.Context())
		if r, typed := servertest.Refusal(err); r != nil {
			err = typed
		}
		servertest.Kind(t, c.name, err, c.want)
	}
}

func TestATokenIsWorthNothingElsewhere(t *testing.T) {
	var clock sync.Mutex
	offset := time.Duration(0)
	now := func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return time.Now().Add(offset)
	}
	o := newOffice(t, servertest.Config{Network: rpc.Config{Now: now}})
	h, content, _ := servertest.Upload(o.w.ID, []byte("content"))
	header := h.Encode()
	token := func(path string, body []byte) string {
		r, err := http.NewRequest(http.MethodPost, o.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		servertest.Sign(r, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(body))
		return r.Header.Get("Authorization")
	}
	send := func(path, authorization string, body []byte) error {
		r, err := http.NewRequest(http.MethodPost, o.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		return servertest.PlainRefusal(answer)
	}
	upload := servertest.UploadBody(h, content)
	other, otherContent, _ := servertest.Upload(o.w.ID, []byte("another"))
	good := token(pack.UploadPath, header)
	for _, c := range []struct {
		name          string
		path          string
		authorization string
		body          []byte
		want          fault.Kind
	}{
		{"no token", pack.UploadPath, "", upload, fault.Unauthenticated},
		{"a bearer token", pack.UploadPath, "Bearer " + servertest.AdminToken, upload, fault.Unauthenticated},
		{"another endpoint", pack.DownloadPath, good, header, fault.Unauthenticated},
		{"another query", pack.UploadPath + "?again", good, upload, fault.Unauthenticated},
		{"another body", pack.UploadPath, good, servertest.UploadBody(other, otherContent), fault.Unauthenticated},
		{"another content under the same header", pack.UploadPath, good, servertest.UploadBody(h, otherContent), fault.Invalid},
	} {
		servertest.Kind(t, c.name, send(c.path, c.authorization, c.body), c.want)
	}
	for range 2 { // within its five minutes, a replay has no effect
		if err := send(pack.UploadPath, good, upload); err != nil {
			t.Fatal(err)
		}
	}
	clock.Lock()
	offset = 6 * time.Minute
	clock.Unlock()
	servertest.Kind(t, "six minutes later", send(pack.UploadPath, good, upload), fault.Clock)
}

func TestRequestsAreBounded(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	post := func(path string, size int64, body io.Reader, header ...string) error {
		r, err := http.NewRequest(http.MethodPost, o.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/octet-stream")
		servertest.Sign(r, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(nil))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		return servertest.PlainRefusal(answer)
	}
	huge := append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 100)...)
	for _, c := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"a body announced too long", post(pack.DownloadPath, 1<<20, bytes.NewReader(make([]byte, 1<<20))), fault.TooLarge},
		{"a body that is too long and does not say so", post(pack.DownloadPath, -1, bytes.NewReader(make([]byte, 1<<20))), fault.TooLarge},
		{"a compressed body", post(pack.DownloadPath, 3, strings.NewReader("abc"), "Content-Encoding", "gzip"), fault.Invalid},
		{"a compressed stream", post(pack.DownloadPath, 3, strings.NewReader("abc"), "Connect-Content-Encoding", "gzip"), fault.Invalid},
		{"an upload with a huge header", post(pack.UploadPath, int64(len(huge)), bytes.NewReader(huge)), fault.TooLarge},
		{"an upload announced too long", post(pack.UploadPath, 18<<20, bytes.NewReader(make([]byte, 18<<20))), fault.TooLarge},
		{"a body that is not the announced one", post(pack.DownloadPath, 3, strings.NewReader("abc")), fault.Unauthenticated},
	} {
		servertest.Kind(t, c.name, c.err, c.want)
	}
	_, err := o.admin.Workspace.Commit(t.Context(), &parsecv1.CommitRequest{Workspace: o.w.ID.Bytes(), Manifests: [][]byte{make([]byte, 17<<20)}})
	_, typed := servertest.Refusal(err)
	servertest.Kind(t, "a commit that is too long", typed, fault.TooLarge)
}

// slow begins a request that announces a body and sends none of it, and
// returns the first line of the answer.
func (o *office) slow(t *testing.T, path, authorization string, size int) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(o.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil { // for a server that waits for the body
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\nExpect: 100-continue\r\n"+
		"Authorization: %s\r\nContent-Length: %d\r\n\r\n", path, authorization, size)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return strings.TrimSpace(line)
}

func TestStrangersHoldNoMemoryOfThoseWhoAreKnown(t *testing.T) {
	// Each takes all of its budget, and a request that waits would wait long.
	o := newOffice(t, servertest.Config{Network: rpc.Config{
		BodyMemory: 1 << 20, OpenMemory: 1 << 20, StallTime: time.Hour, CommitTime: time.Hour, TransferTime: time.Hour,
	}})
	liar := *o.kit.Admin // her ids, and another key
	_, liar.Signing, _ = ed25519.GenerateKey(nil)
	for _, path := range []string{parsecv1connect.WorkspaceServiceCommitProcedure, pack.UploadPath, pack.DownloadPath} {
		r, err := http.NewRequest(http.MethodPost, o.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		servertest.Sign(r, o.kit.Fingerprint(), &liar, time.Now(), [32]byte{1})
		if got := o.slow(t, path, r.Header.Get("Authorization"), 100_000); got != "HTTP/1.1 401 Unauthorized" {
			t.Errorf("%s, with a false token and no body: %s", path, got)
		}
	}
	if got := o.slow(t, parsecv1connect.OrganizationServiceBootstrapProcedure, "", 2<<20); got != "HTTP/1.1 100 Continue" {
		t.Fatalf("a bootstrap: %s", got)
	}
	// It holds the memory from here on.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o.w.Commit(o.kit.Admin, o.w.New())
	if _, err := o.admin.Workspace.Commit(ctx, servertest.CommitRequest(t, o.kit, o.w, o.w.Records[len(o.w.Records)-1])); err != nil {
		t.Errorf("a commit while a stranger holds memory: %v", err)
	}
}

func TestCallersAreHeldToTheirRates(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{DeviceRate: 0.001, DeviceBurst: 20, OpenRate: 0.001, OpenBurst: 10, TokenRate: 0.001, TokenBurst: 3}})
	_, other := o.addUser(t, record.RoleReader)
	anybody := o.dial(t, nil)
	f, token := o.kit.Fingerprint(), id.New[id.Token]()
	untilBusy := func(call func() error) int {
		for n := range 100 {
			err := call()
			if _, typed := servertest.Refusal(err); fault.Is(typed, fault.Busy) {
				return n
			}
		}
		return -1
	}
	if n := untilBusy(func() error {
		_, err := anybody.Claim.GetInvitation(t.Context(), &parsecv1.GetInvitationRequest{Token: token.Bytes(), Organization: f[:]})
		return err
	}); n != 3 {
		t.Errorf("a token could be tried %d times, want 3", n)
	}
	if n := untilBusy(func() error {
		_, err := anybody.Server.Info(t.Context(), &parsecv1.InfoRequest{})
		return err
	}); n < 1 || n > 10 {
		t.Errorf("an address could ask %d times, want at most 10", n)
	}
	list := func(c *servertest.Client) error {
		_, err := c.Organization.ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{})
		return err
	}
	if n := untilBusy(func() error { return list(o.admin) }); n < 10 || n > 20 {
		t.Errorf("a device could ask %d times, want at most 20", n)
	}
	if err := list(other); err != nil {
		t.Errorf("another device pays for it: %v", err)
	}
}

func TestSubscribersHearOfWhatTheyMaySee(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	bob, client := o.addUser(t, record.RoleReader)
	stream := subscribe(t, client)
	hints := stream.until(t, map[string]uint64{"": 2, string(o.w.ID[:]): 2})
	o.w.Commit(o.kit.Admin, o.w.New())
	if _, err := o.admin.Workspace.Commit(t.Context(), servertest.CommitRequest(t, o.kit, o.w, o.w.Records[2])); err != nil {
		t.Fatal(err)
	}
	stream.until(t, map[string]uint64{string(o.w.ID[:]): 3})

	first := o.w
	o.w = o.kit.CreateWorkspace(o.kit.Admin) // of which bob knows nothing
	o.bring(t, o.admin)
	o.w.Share(o.kit.Admin, bob, record.RoleReader)
	o.bring(t, o.admin)
	stream.until(t, map[string]uint64{string(o.w.ID[:]): 2})
	if hints[string(o.w.ID[:])] != 0 {
		t.Error("a hint of a workspace before it was shared")
	}
	o.w = first
	o.w.Remove(o.kit.Admin, bob)
	o.bring(t, o.admin)
	o.kit.RevokeUser(o.kit.Admin, bob)
	if _, err := o.admin.Organization.Append(t.Context(), servertest.AddRequest(o.kit, nil)); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := stream.Receive()
		if err == nil {
			continue
		}
		_, typed := servertest.Refusal(err)
		servertest.Kind(t, "the stream of a revoked user", typed, fault.Unauthenticated)
		break
	}
}

func TestWhomTheOperatorSuspendsIsCutOffAndComesBack(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{Beat: time.Hour}}) // no beat finds it out
	bob, client := o.addUser(t, record.RoleContributor)
	operator := servertest.DialAdmin(o.URL, servertest.AdminToken)
	t.Cleanup(operator.Close)
	name, yes, no := o.kit.Org.Name(), true, false
	user := func(frozen bool) error {
		_, err := operator.Admin.SetUser(t.Context(), &parsecv1.SetUserRequest{Organization: name, Email: bob.Opening.Email, Frozen: frozen})
		return err
	}
	all := func(expired *bool) error {
		_, err := operator.Admin.SetOrganization(t.Context(), &parsecv1.SetOrganizationRequest{Name: name, Expired: expired})
		return err
	}
	for _, c := range []struct {
		name          string
		suspend, back func() error
		// spared is whether others go on.
		spared bool
	}{
		{"a user", func() error { return user(true) }, func() error { return user(false) }, true},
		{"an organization", func() error { return all(&yes) }, func() error { return all(&no) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := subscribe(t, client)
			stream.until(t, map[string]uint64{"": 2})
			for range 2 { // again is no failure
				if err := c.suspend(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			for err == nil {
				_, err = stream.Receive()
			}
			_, typed := servertest.Refusal(err)
			servertest.Kind(t, "the stream", typed, fault.Frozen)
			_, err = client.Organization.ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{})
			_, typed = servertest.Refusal(err)
			servertest.Kind(t, "a call", typed, fault.Frozen)
			if fault.HintOf(typed) == "" {
				t.Error("nobody is told what to do")
			}
			h, content, _ := servertest.Upload(o.w.ID, []byte("block"))
			servertest.Kind(t, "an upload", client.Upload(t.Context(), h, content), fault.Frozen)
			if _, err := o.admin.Organization.ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{}); (err == nil) != c.spared {
				t.Errorf("another user: %v, spared: %t", err, c.spared)
			}
			if err := c.back(); err != nil {
				t.Fatal(err)
			}
			subscribe(t, client).until(t, map[string]uint64{"": 2, string(o.w.ID[:]): 2})
			if err := client.Upload(t.Context(), h, content); err != nil {
				t.Errorf("an upload afterwards: %v", err)
			}
		})
	}
}

// subscription is an event stream in a test.
type subscription struct {
	parsecv1connect.OrganizationServiceSubscribeClientStream
}

func subscribe(t *testing.T, c *servertest.Client) subscription {
	t.Helper()
	stream, err := c.Organization.Subscribe(t.Context(), &parsecv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return subscription{stream}
}

// until reads hints until all that are wanted came, and returns all that did.
func (s subscription) until(t *testing.T, want map[string]uint64) map[string]uint64 {
	t.Helper()
	got := map[string]uint64{}
	for {
		here := true
		for w, index := range want {
			here = here && got[w] >= index
		}
		if here {
			return got
		}
		m, err := s.Receive()
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got[string(m.GetWorkspace())] = max(got[string(m.GetWorkspace())], m.GetIndex())
	}
}

func TestAStreamBeatsWhileNothingHappens(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{Beat: 10 * time.Millisecond}})
	stream := subscribe(t, o.admin)
	stream.until(t, map[string]uint64{"": 1, string(o.w.ID[:]): 1})
	for range 3 {
		m, err := stream.Receive()
		if err != nil || m.GetIndex() != 0 || len(m.GetWorkspace()) != 0 {
			t.Fatalf("got %v, %v; want a beat", m, err)
		}
	}
}

func TestADeviceHoldsOnlySoManyStreams(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{Streams: 2}})
	for range 2 {
		subscribe(t, o.admin).until(t, map[string]uint64{"": 1})
	}
	_, err := subscribe(t, o.admin).Receive()
	_, typed := servertest.Refusal(err)
	servertest.Kind(t, "one stream too many", typed, fault.Busy)
}

func TestAStoppingServerEndsStreamsAndFinishesTheRest(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	stream := subscribe(t, o.admin)
	stream.until(t, map[string]uint64{"": 1})
	// An upload is under way when the server is told to stop: more of it is
	// written than fits between the two sides.
	const begun = 15 << 20
	h, content, _ := servertest.Upload(o.w.ID, make([]byte, 4<<20), make([]byte, 4<<20), make([]byte, 4<<20), make([]byte, 4<<20))
	body := servertest.UploadBody(h, content)
	r, w := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.URL+pack.UploadPath, r)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = int64(len(body))
	servertest.Sign(request, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(h.Encode()))
	var running sync.WaitGroup
	var answer *http.Response
	running.Go(func() { answer, err = http.DefaultClient.Do(request) })
	if _, err := w.Write(body[:begun]); err != nil {
		t.Fatal(err)
	}
	running.Go(o.Stop)
	_, ended := stream.Receive() // says that the server is stopping
	if _, typed := servertest.Refusal(ended); !fault.Is(typed, fault.Unreachable) {
		t.Errorf("the stream ended with %v", ended)
	}
	if _, err := w.Write(body[begun:]); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("the upload in flight: %v, %v", answer, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestAReaderWhoNeverReadsIsCutOffAndHoldsNobodyUp(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{StallTime: 100 * time.Millisecond, DeviceRate: 1e6}})
	var contents [][]byte
	for range 4 {
		contents = append(contents, make([]byte, 4<<20))
	}
	h, content, ids := servertest.Upload(o.w.ID, contents...)
	if err := o.admin.Upload(t.Context(), h, content); err != nil {
		t.Fatal(err)
	}
	question := pack.Request{Workspace: o.w.ID, Blocks: ids}.Encode()
	conn, err := net.Dial("tcp", strings.TrimPrefix(o.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := http.NewRequest(http.MethodPost, o.URL+pack.DownloadPath, bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Sign(r, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(question))
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	// The server gives up on this connection, and answers others meanwhile.
	for !strings.Contains(o.log.String(), "i/o timeout") {
		if _, err := o.admin.Organization.ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(conn)
	if len(got) >= len(content) {
		t.Errorf("all %d bytes came, %v", len(got), err)
	}
}

func TestASenderWhoDripsIsCutOff(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{StallTime: 50 * time.Millisecond}})
	for _, path := range []string{pack.DownloadPath, pack.UploadPath} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(o.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r, err := http.NewRequest(http.MethodPost, o.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		servertest.Sign(r, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(nil))
		head := "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: " + r.Header.Get("Authorization") + "\r\n\r\nx"
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // until the server closes
		if err != nil || !strings.Contains(string(answer), "400 Bad Request") {
			t.Errorf("%s: got %q, %v", path, answer, err)
		}
	}
}

func TestTheLogTellsWhatHappenedAndNoSecrets(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	bob, client := o.addUser(t, record.RoleReader)
	if _, err := client.Organization.ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := servertest.DialAdmin(o.URL, servertest.AdminToken).Admin.ListUsers(t.Context(), &parsecv1.ListUsersRequest{Organization: o.kit.Org.Name()}); err != nil {
		t.Fatal(err)
	}
	pasted, err := http.Get(o.URL + "/invite/a-token-in-the-path?and=another")
	if err != nil {
		t.Fatal(err)
	}
	pasted.Body.Close()
	o.Stop()
	log := o.log.String()
	if want := `"id":"` + pasted.Header.Get("X-Request-Id") + `","method":"GET","path":"(other)","status":404`; !strings.Contains(log, want) {
		t.Errorf("the log lacks %s", want)
	}
	for _, secret := range []string{"a-token-in-the-path", "another", bob.Opening.Email, bob.Opening.Name, servertest.AdminToken, "Parsec ", "Bearer "} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	var last struct {
		Msg, ID, Method, Path string
		Status                int
		Bytes, Duration       int64
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-2]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Msg != "request" || last.ID == "" || last.Method != "POST" || last.Path != parsecv1connect.AdminServiceListUsersProcedure ||
		last.Status != 200 || last.Bytes == 0 || last.Duration == 0 {
		t.Errorf("the last line but one is %+v", last)
	}
	if strings.Contains(log, `"status":0`) {
		t.Errorf("an answer without a status:\n%s", log)
	}
}

func TestPeopleWithABrowserAreToldWhatToDo(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	for path, want := range map[string]string{
		"/":          "Install <code>parsec</code>",
		"/invite":    "parsec invite claim",
		"/bootstrap": "parsec org bootstrap",
		"/healthz":   "ok\n",
	} {
		answer, err := http.Get(o.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v: %s", path, answer.Status, err, body)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
		answer.Body.Close()
	}
}

func TestHTTP2IsSpokenWithoutTLS(t *testing.T) {
	o := newOffice(t, servertest.Config{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	h, content, _ := servertest.Upload(o.w.ID, make([]byte, 3<<20))
	r, err := http.NewRequest(http.MethodPost, o.URL+pack.UploadPath, bytes.NewReader(servertest.UploadBody(h, content)))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Sign(r, o.kit.Fingerprint(), o.kit.Admin, time.Now(), sha256.Sum256(h.Encode()))
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != pack.MediaType {
		t.Errorf("got %s, %s, %s", answer.Proto, answer.Status, answer.Header.Get("Content-Type"))
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	o := newOffice(t, servertest.Config{Network: rpc.Config{Connections: 2}})
	o.admin.Close()
	idle := make([]net.Conn, 2)
	for i := range idle {
		var err error
		if idle[i], err = net.Dial("tcp", strings.TrimPrefix(o.URL, "http://")); err != nil {
			t.Fatal(err)
		}
		defer idle[i].Close()
		if err := ask(idle[i]); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	var late error
	wait.Go(func() {
		answer, err := http.Get(o.URL + "/healthz")
		if late = err; err == nil {
			late = answer.Body.Close()
		}
	})
	// The two that were first are still served, and then make room.
	for _, c := range idle {
		if err := errors.Join(ask(c), c.Close()); err != nil {
			t.Error(err)
		}
	}
	wait.Wait()
	if late != nil {
		t.Error(late)
	}
}

// ask asks for something over a connection of its own.
func ask(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}
