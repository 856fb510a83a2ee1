package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/format/invitation"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// everything makes one request of each form.
func everything(ctx context.Context, c *remote.Client) error {
	b := id.New[id.Block]()
	_, unary := c.ListWorkspaces(ctx)
	stream := c.PullOrganization(ctx, 0, func(remote.Batch) error { return nil })
	upload := c.Upload(ctx, id.New[id.Workspace](), []pack.Block{{ID: b, Length: 3}}, [][]byte{[]byte("abc")})
	download := c.Download(ctx, id.New[id.Workspace](), []id.Block{b}, func(id.Block, []byte) error { return nil })
	return errors.Join(unary, stream, upload, download)
}

// willing answers what everything asks for, and takes commits.
func willing() *http.ServeMux {
	f := new(fake)
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) { return &parsecv1.ListWorkspacesResponse{}, nil }
	f.pull = func(_ *parsecv1.OrganizationPullRequest, s parsecv1connect.OrganizationServicePullServerStream) error {
		return s.Send(&parsecv1.OrganizationPullResponse{Position: at(0)})
	}
	f.commit = func(*parsecv1.CommitRequest) (*parsecv1.Appended, error) {
		return &parsecv1.Appended{Position: at(4)}, nil
	}
	mux := f.handler()
	mux.HandleFunc("POST "+pack.UploadPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", pack.MediaType)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	mux.HandleFunc("POST "+pack.DownloadPath, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		q, _ := pack.DecodeRequest(data)
		w.Header().Set("Content-Type", pack.MediaType)
		for _, b := range q.Blocks {
			_ = pack.WriteFrame(w, b, 3)
			_, _ = w.Write([]byte("abc"))
		}
		_ = pack.WriteEnd(w)
	})
	return mux
}

func TestEveryRequestIsSignedForItsEndpointAndBody(t *testing.T) {
	d := newDevice()
	g := &gate{t: t, device: d, now: time.Now, next: willing()}
	c, err := remote.New(serve(t, g), d.Identity, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := everything(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(g.seen) != 4 {
		t.Errorf("requests %v, want four and none repeated", g.seen)
	}
}

func TestTheServersClockCorrectsTokensAndNothingElse(t *testing.T) {
	d := newDevice()
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	f := new(fake)
	var sent []byte
	f.append = func(q *parsecv1.OrganizationAppendRequest) (*parsecv1.Appended, error) {
		sent = q.GetRecord()
		return &parsecv1.Appended{Position: at(1)}, nil
	}
	f.info = func() (*parsecv1.InfoResponse, error) {
		return &parsecv1.InfoResponse{Suite: "parsec/v1", Time: ahead().UnixNano()}, nil
	}
	g := &gate{t: t, device: d, now: ahead, next: f.handler()}
	c, err := remote.New(serve(t, g), d.Identity, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if _, err := c.AppendOrganization(t.Context(), remote.OrganizationRecord{Record: []byte("signed long ago")}); err != nil {
			t.Fatal(err)
		}
	}
	if string(sent) != "signed long ago" {
		t.Errorf("the record became %q", sent)
	}
	const info, call = parsecv1connect.ServerServiceInfoProcedure, parsecv1connect.OrganizationServiceAppendProcedure
	if want := []string{call, info, call, call}; !slices.Equal(g.seen, want) {
		t.Errorf("requests %v, want %v", g.seen, want)
	}
}

func TestAClockThatStaysWrongEndsTheCall(t *testing.T) {
	f := new(fake)
	calls := 0
	f.append = func(*parsecv1.OrganizationAppendRequest) (*parsecv1.Appended, error) {
		calls++
		return nil, refuse(fault.Clock, "the record's time is off", &parsecv1.Refusal{Hint: "set this computer's clock"})
	}
	_, err := client(t, serve(t, f.handler()), quick()).AppendOrganization(t.Context(), remote.OrganizationRecord{Record: []byte("r")})
	wantKind(t, err, fault.Clock)
	if calls != 2 || fault.HintOf(err) != "set this computer's clock" {
		t.Errorf("%d calls, hint %q", calls, fault.HintOf(err))
	}
}

func TestAGuestProvesNothingButItsLink(t *testing.T) {
	f := new(fake)
	link := invitation.Link{Token: id.New[id.Token](), Name: "acme"}
	f.bootstrap = func(q *parsecv1.BootstrapRequest) (*parsecv1.Appended, error) {
		if !bytes.Equal(q.GetToken(), link.Token[:]) || string(q.GetRecord()) != "genesis" || string(q.GetOpening()) != "opening" {
			return nil, refuse(fault.NotFound, fmt.Sprintf("%v", q), &parsecv1.Refusal{})
		}
		return &parsecv1.Appended{Position: at(1)}, nil
	}
	next := f.handler()
	link.Server = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.Header.Get("Authorization"); token != "" {
			t.Errorf("a guest sent the token %q", token)
		}
		next.ServeHTTP(w, r)
	}))
	g, err := remote.NewGuest(link, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if info, err := g.Info(t.Context()); err != nil || info.Version != "fake" || time.Since(info.Time).Abs() > time.Minute {
		t.Errorf("information %v, %v", info, err)
	}
	if p, err := g.Bootstrap(t.Context(), []byte("genesis"), []byte("opening")); err != nil || p.Index != 1 {
		t.Errorf("bootstrap %v, %v", p, err)
	}
}

func TestHTTP2IsSpokenWhereTLSOffersIt(t *testing.T) {
	mux := willing()
	versions := make(map[string]bool)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		versions[r.Proto] = true
		mux.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	cfg := quick()
	cfg.Roots = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if err := everything(t.Context(), client(t, s.URL, cfg)); err != nil {
		t.Fatal(err)
	}
	if !versions["HTTP/2.0"] || len(versions) != 1 {
		t.Errorf("versions %v, want HTTP/2.0 alone", versions)
	}
}

func TestTheMeterCountsRequestsAndBytes(t *testing.T) {
	m := new(remote.Meter)
	cfg := quick()
	cfg.Meter = m
	c := client(t, serve(t, willing()), cfg)
	body := make([]byte, 1<<20)
	if err := c.Upload(t.Context(), id.New[id.Workspace](), []pack.Block{{ID: id.New[id.Block](), Length: 1 << 20}}, [][]byte{body}); err != nil {
		t.Fatal(err)
	}
	if m.Requests() != 1 || m.Sent() < 1<<20 || m.Sent() > 1<<20+2000 || m.Received() == 0 || m.Received() > 1000 || c.Meter() != m {
		t.Errorf("%d requests, %d bytes sent, %d received", m.Requests(), m.Sent(), m.Received())
	}
}

func TestAddressesAndIdentitiesAreChecked(t *testing.T) {
	for _, server := range []string{"", "localhost:6770", "ftp://host", "http://", "http://u:p@host", "http://host?q", "http://host/#f", "http://ho st"} {
		if _, err := remote.New(server, newDevice().Identity, remote.Config{}); fault.KindOf(err) != fault.Usage {
			t.Errorf("address %q: %v", server, err)
		}
	}
	if _, err := remote.New("http://host", remote.Identity{}, remote.Config{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("no identity: %v", err)
	}
	c := client(t, "https://host/parsec/", remote.Config{})
	if got, want := c.Server(), "https://host/parsec"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if text := fmt.Sprintf("%v %+v", newDevice().Identity, newDevice().Identity); strings.Contains(text, "59 106 39") {
		t.Errorf("the key shows in %s", text)
	}
}

func TestLogsComeInOrderAndResumeBehindWhatWasTaken(t *testing.T) {
	f := new(fake)
	var asked []uint64
	f.pull = func(q *parsecv1.OrganizationPullRequest, s parsecv1connect.OrganizationServicePullServerStream) error {
		asked = append(asked, q.GetSince())
		for i := q.GetSince() + 1; i <= 5; i++ {
			m := &parsecv1.OrganizationPullResponse{Records: [][]byte{{byte(i)}}}
			if i == q.GetSince()+1 {
				m.Position = at(5)
			}
			if i == 4 && len(asked) == 1 {
				panic(http.ErrAbortHandler) // the connection breaks
			}
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
	var got []byte
	err := client(t, serve(t, f.handler()), quick()).PullOrganization(t.Context(), 1, func(b remote.Batch) error {
		if (b.Position != nil) != (len(got) == 0 || len(got) == 2) {
			t.Errorf("position %v behind %v", b.Position, got)
		}
		for _, r := range b.Records {
			got = append(got, r...)
		}
		return nil
	})
	if err != nil || !bytes.Equal(got, []byte{2, 3, 4, 5}) || !slices.Equal(asked, []uint64{1, 3}) {
		t.Errorf("got %v, %v, asked behind %v", got, err, asked)
	}
}

func TestAnErrorOfTheCallerEndsAStreamForGood(t *testing.T) {
	f := new(fake)
	calls := 0
	f.pull = func(_ *parsecv1.OrganizationPullRequest, s parsecv1connect.OrganizationServicePullServerStream) error {
		calls++
		for {
			if err := s.Send(&parsecv1.OrganizationPullResponse{Position: at(9), Records: [][]byte{{1}}}); err != nil {
				return err
			}
		}
	}
	// Of a kind that would be tried again, were it not the caller's.
	mine := fault.Errorf(fault.Unreachable, "mine")
	err := client(t, serve(t, f.handler()), quick()).PullOrganization(t.Context(), 0, func(remote.Batch) error { return mine })
	if !errors.Is(err, mine) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestManifestsResumeAtTheirCursor(t *testing.T) {
	f := new(fake)
	var asked []string
	entry := id.New[id.Entry]()
	f.manifests = func(q *parsecv1.ManifestsRequest, s parsecv1connect.WorkspaceServiceManifestsServerStream) error {
		asked = append(asked, string(q.GetCursor()))
		for _, cursor := range []string{"a", "b", "c"} {
			if cursor <= string(q.GetCursor()) {
				continue
			}
			if cursor == "c" && len(asked) == 1 {
				return refuse(fault.Busy, "slower", &parsecv1.Refusal{})
			}
			c := &parsecv1.Chain{Entry: entry[:], Manifests: []*parsecv1.SealedManifest{{Version: 4, Sealed: []byte("x")}, {Version: 5, Sealed: []byte("y")}}}
			if err := s.Send(&parsecv1.ManifestsResponse{Chains: []*parsecv1.Chain{c}, Cursor: []byte(cursor)}); err != nil {
				return err
			}
		}
		return nil
	}
	var got []string
	err := client(t, serve(t, f.handler()), quick()).Manifests(t.Context(), id.New[id.Workspace](), 3, nil, func(chains []remote.Chain, cursor []byte) error {
		if len(chains) != 1 || chains[0].Entry != entry || len(chains[0].Manifests) != 2 || chains[0].Manifests[1].Version != 5 {
			t.Errorf("chains %v", chains)
		}
		got = append(got, string(cursor))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"a", "b", "c"}) || !slices.Equal(asked, []string{"", "b"}) {
		t.Errorf("got %v, %v, asked at %v", got, err, asked)
	}
}

func TestManyEntriesAreAskedForInBulk(t *testing.T) {
	f := new(fake)
	var asked []int
	f.entries = func(q *parsecv1.EntryManifestsRequest, s parsecv1connect.WorkspaceServiceEntryManifestsServerStream) error {
		asked = append(asked, len(q.GetEntries())/id.Size)
		c := &parsecv1.Chain{Entry: q.GetEntries()[:id.Size], Manifests: []*parsecv1.SealedManifest{{Version: 1, Sealed: []byte("x")}}}
		return s.Send(&parsecv1.ManifestsResponse{Chains: []*parsecv1.Chain{c}})
	}
	entries := make([]id.Entry, record.MaxChanges+10)
	for i := range entries {
		entries[i] = id.New[id.Entry]()
	}
	var got []id.Entry
	err := client(t, serve(t, f.handler()), quick()).EntryManifests(t.Context(), id.New[id.Workspace](), entries, func(chains []remote.Chain) error {
		got = append(got, chains[0].Entry)
		return nil
	})
	if want := []id.Entry{entries[0], entries[record.MaxChanges]}; err != nil || !slices.Equal(got, want) || !slices.Equal(asked, []int{record.MaxChanges, 10}) {
		t.Errorf("got %v, %v, asked for %v", got, err, asked)
	}
}

func TestManySpansAreAskedForInBulk(t *testing.T) {
	f := new(fake)
	var asked []int
	f.versions = func(q *parsecv1.EntryVersionsRequest, s parsecv1connect.WorkspaceServiceEntryVersionsServerStream) error {
		asked = append(asked, len(q.GetSpans()))
		c := &parsecv1.Chain{Entry: q.GetSpans()[0].GetEntry(), Manifests: []*parsecv1.SealedManifest{{Version: 3, Sealed: []byte("x")}, {Version: 4, Sealed: []byte("y")}}}
		return s.Send(&parsecv1.ManifestsResponse{Chains: []*parsecv1.Chain{c}})
	}
	spans := make([]remote.Span, record.MaxChanges+10)
	for i := range spans {
		spans[i] = remote.Span{Entry: id.New[id.Entry](), First: 3, Last: 4}
	}
	var got []id.Entry
	c := client(t, serve(t, f.handler()), quick())
	take := func(chains []remote.Chain) error {
		got = append(got, chains[0].Entry)
		return nil
	}
	err := c.EntryVersions(t.Context(), id.New[id.Workspace](), spans, take)
	if want := []id.Entry{spans[0].Entry, spans[record.MaxChanges].Entry}; err != nil || !slices.Equal(got, want) || !slices.Equal(asked, []int{record.MaxChanges, 10}) {
		t.Errorf("got %v, %v, asked for %v", got, err, asked)
	}
	for _, other := range []remote.Span{{Entry: spans[0].Entry, First: 3, Last: 3}, {Entry: spans[0].Entry, First: 2, Last: 3}} {
		if err := c.EntryVersions(t.Context(), id.New[id.Workspace](), []remote.Span{other}, take); !fault.Is(err, fault.Integrity) {
			t.Errorf("versions 3 and 4 where %d to %d were asked for: %v", other.First, other.Last, err)
		}
	}
}

func TestEventsComeWithoutBeats(t *testing.T) {
	f := new(fake)
	w := id.New[id.Workspace]()
	f.subscribe = func(ctx context.Context, s parsecv1connect.OrganizationServiceSubscribeServerStream) error {
		for _, m := range []*parsecv1.SubscribeResponse{{Index: 3}, {}, {Workspace: w[:], Index: 8}} {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []remote.Event
	err := client(t, serve(t, f.handler()), quick()).Subscribe(ctx, func(e remote.Event) error {
		if got = append(got, e); len(got) == 2 {
			cancel()
		}
		return nil
	})
	wantKind(t, err, fault.Canceled)
	if want := []remote.Event{{Index: 3}, {Workspace: w, Index: 8}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
