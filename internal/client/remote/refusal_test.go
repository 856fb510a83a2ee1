package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
)

// once makes no second attempts.
func once() remote.Config { return remote.Config{Retry: remote.Retry{Attempts: 1}} }

func TestARefusalKeepsItsKindUnlessOnlyThisSideMayFindIt(t *testing.T) {
	f := new(fake)
	var answer error
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) { return nil, answer }
	f.pull = func(*parsecv1.OrganizationPullRequest, parsecv1connect.OrganizationServicePullServerStream) error {
		return answer
	}
	mux := f.handler()
	var plain http.HandlerFunc
	mux.HandleFunc("POST "+pack.DownloadPath, func(w http.ResponseWriter, r *http.Request) { plain(w, r) })
	mux.HandleFunc("POST "+pack.UploadPath, func(w http.ResponseWriter, r *http.Request) {
		_ = connecthttp.NewErrorWriter().Write(w, r, answer) // as where the server looks at no endpoint yet
	})
	c := client(t, serve(t, mux), once())
	names := map[string]fault.Kind{"a kind that does not exist": fault.Failed, "Stale": fault.Failed}
	for _, k := range fault.Kinds() {
		names[k.String()] = k
	}
	for _, k := range []fault.Kind{fault.Integrity, fault.Usage, fault.Canceled} {
		names[k.String()] = fault.Failed
	}
	for name, want := range names {
		// The RPC's own code claims something worse than the refusal.
		answer = connect.NewError(connect.CodeDataLoss, "this is why").WithDetail(packed(&parsecv1.Refusal{Kind: name, Hint: "do that"}))
		plain = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(`{"kind":"` + name + `","error":"this is why","hint":"do that"}`))
		}
		_, unary := c.ListWorkspaces(t.Context())
		stream := c.PullOrganization(t.Context(), 0, func(remote.Batch) error { return nil })
		blocks := c.Download(t.Context(), id.Workspace{1}, []id.Block{{1}}, func(id.Block, []byte) error { return nil })
		early := c.Upload(t.Context(), id.Workspace{1}, []pack.Block{{ID: id.Block{1}, Length: 1}}, [][]byte{{1}})
		for form, err := range map[string]error{"unary": unary, "stream": stream, "blocks": blocks, "early": early} {
			if fault.KindOf(err) != want || fault.HintOf(err) != "do that" || !strings.HasSuffix(err.Error(), ": this is why") || fault.PromiseOf(err) != "" {
				t.Errorf("kind %q, %s: got %v (%v), hint %q", name, form, err, fault.KindOf(err), fault.HintOf(err))
			}
		}
	}
}

func TestAnErrorWithoutARefusalHasTheKindOfItsCode(t *testing.T) {
	f := new(fake)
	var code connect.Code
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) { return nil, connect.NewError(code, "") }
	c := client(t, serve(t, f.handler()), once())
	for _, x := range []struct {
		code connect.Code
		want fault.Kind
	}{
		{connect.CodeInvalidArgument, fault.Invalid},
		{connect.CodeUnauthenticated, fault.Unauthenticated},
		{connect.CodePermissionDenied, fault.Denied},
		{connect.CodeResourceExhausted, fault.TooLarge},
		{connect.CodeUnimplemented, fault.Upgrade},
		{connect.CodeUnavailable, fault.Unreachable},
		{connect.CodeDeadlineExceeded, fault.Unreachable},
		{connect.CodeCanceled, fault.Unreachable},
		{connect.CodeInternal, fault.Failed},
		{connect.CodeDataLoss, fault.Failed},
	} {
		code = x.code
		if _, err := c.ListWorkspaces(t.Context()); fault.KindOf(err) != x.want {
			t.Errorf("code %v: got %v (%v), want %v", x.code, err, fault.KindOf(err), x.want)
		}
	}
}

func TestAStaleCommitCarriesWhatARebaseNeeds(t *testing.T) {
	f := new(fake)
	entry := id.New[id.Entry]()
	large := bytes.Repeat([]byte{1}, 1<<20)
	stale := &parsecv1.Stale{
		Position: at(7), Organization: at(3), Records: [][]byte{large},
		Chains: []*parsecv1.Chain{{Entry: entry[:], Manifests: []*parsecv1.SealedManifest{{Version: 2, Sealed: []byte("s")}}}},
	}
	f.commit = func(*parsecv1.CommitRequest) (*parsecv1.Appended, error) {
		return nil, refuse(fault.Stale, "the place is taken", &parsecv1.Refusal{Stale: stale})
	}
	_, err := client(t, serve(t, f.handler()), once()).Commit(t.Context(), id.Workspace{1}, remote.Commit{Record: []byte("r")})
	wantKind(t, err, fault.Stale)
	got, ok := errors.AsType[*remote.Stale](err)
	if !ok || got.Position.Index != 7 || got.Organization.Index != 3 {
		t.Fatalf("got %+v", got)
	}
	want := []remote.Chain{{Entry: entry, Manifests: []remote.SealedManifest{{Version: 2, Sealed: []byte("s")}}}}
	if diff := cmp.Diff(want, got.Chains); diff != "" || !bytes.Equal(got.Records[0], large) {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
}

func TestACommitIsToldWhichOfItsBlocksAreMissing(t *testing.T) {
	f := new(fake)
	mine, other := id.New[id.Block](), id.New[id.Block]()
	missing := &parsecv1.Missing{Blocks: [][]byte{mine[:]}}
	f.commit = func(q *parsecv1.CommitRequest) (*parsecv1.Appended, error) {
		if !bytes.Equal(q.GetBlocks(), mine[:]) {
			t.Errorf("the commit introduces %x", q.GetBlocks())
		}
		return nil, refuse(fault.Missing, "not here", &parsecv1.Refusal{Missing: missing})
	}
	c := client(t, serve(t, f.handler()), once())
	_, err := c.Commit(t.Context(), id.Workspace{1}, remote.Commit{Record: []byte("r"), Blocks: []id.Block{mine}})
	wantKind(t, err, fault.Missing)
	if got, ok := errors.AsType[*remote.Missing](err); !ok || !cmp.Equal(got.Blocks, []id.Block{mine}) {
		t.Errorf("got %+v", got)
	}
	missing.Blocks = [][]byte{other[:]}
	_, err = c.Commit(t.Context(), id.Workspace{1}, remote.Commit{Record: []byte("r"), Blocks: []id.Block{mine}})
	wantKind(t, err, fault.Invalid)
}

func TestDetailsOfARefusalAreChecked(t *testing.T) {
	entry := id.New[id.Entry]()
	sealed := func(versions ...uint64) *parsecv1.Chain {
		c := &parsecv1.Chain{Entry: entry[:]}
		for _, v := range versions {
			c.Manifests = append(c.Manifests, &parsecv1.SealedManifest{Version: v, Sealed: []byte("s")})
		}
		return c
	}
	stale := func(s *parsecv1.Stale) *parsecv1.Refusal { return &parsecv1.Refusal{Kind: "stale", Stale: s} }
	for name, r := range map[string]*parsecv1.Refusal{
		"a short head":         stale(&parsecv1.Stale{Position: &parsecv1.Position{Head: make([]byte, 31)}}),
		"no head":              stale(&parsecv1.Stale{Organization: &parsecv1.Position{}}),
		"an empty record":      stale(&parsecv1.Stale{Records: [][]byte{{}}}),
		"a long record":        stale(&parsecv1.Stale{Records: [][]byte{make([]byte, record.MaxSize+1)}}),
		"an entry of 15 bytes": stale(&parsecv1.Stale{Chains: []*parsecv1.Chain{{Entry: entry[:15]}}}),
		"an empty chain":       stale(&parsecv1.Stale{Chains: []*parsecv1.Chain{sealed()}}),
		"version 0":            stale(&parsecv1.Stale{Chains: []*parsecv1.Chain{sealed(0)}}),
		"a gap":                stale(&parsecv1.Stale{Chains: []*parsecv1.Chain{sealed(1, 3)}}),
		"an overflow":          stale(&parsecv1.Stale{Chains: []*parsecv1.Chain{sealed(1<<64-1, 0)}}),
		"too many chains":      stale(&parsecv1.Stale{Chains: make([]*parsecv1.Chain, record.MaxChanges+1)}),
		"a missing half block": {Kind: "missing blocks", Missing: &parsecv1.Missing{Blocks: [][]byte{make([]byte, 8)}}},
		"a missing zero block": {Kind: "missing blocks", Missing: &parsecv1.Missing{Blocks: [][]byte{make([]byte, 16)}}},
		"a block twice":        {Kind: "missing blocks", Missing: &parsecv1.Missing{Blocks: [][]byte{entry[:], entry[:]}}},
	} {
		f := new(fake)
		f.commit = func(*parsecv1.CommitRequest) (*parsecv1.Appended, error) { return nil, refuse(fault.Stale, "", r) }
		_, err := client(t, serve(t, f.handler()), once()).Commit(t.Context(), id.Workspace{1}, remote.Commit{Record: []byte("r")})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
	}
}

func TestTheServersWordsAreFitForATerminal(t *testing.T) {
	f := new(fake)
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) {
		return nil, refuse(fault.Denied, "no\x1b[2J\nreally"+strings.Repeat("!", 1000), &parsecv1.Refusal{Hint: "\x07ring"})
	}
	_, err := client(t, serve(t, f.handler()), once()).ListWorkspaces(t.Context())
	if text := err.Error() + fault.HintOf(err); strings.ContainsAny(text, "\x1b\n\x07") || len(text) > 400 {
		t.Errorf("got %q", text)
	}
}

// answering is a server that answers everything in one way.
func answering(status int, header map[string]string, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func TestWhatIsNotAParsecServerIsSaidSo(t *testing.T) {
	html := map[string]string{"Content-Type": "text/html; charset=utf-8"}
	for _, x := range []struct {
		name    string
		handler http.Handler
		kind    fault.Kind
		says    string
	}{
		{"a login page", answering(200, html, "<html>"), fault.Unreachable, "is not a Parsec server: it answers 200 OK with text/html"},
		{"a web server", answering(404, html, "<html>"), fault.Unreachable, "is not a Parsec server: it answers 404 Not Found"},
		{"a forbidding one", answering(403, html, ""), fault.Unreachable, "is not a Parsec server: it answers 403 Forbidden"},
		{"a silent one", answering(204, nil, ""), fault.Unreachable, "is not a Parsec server: it answers 204 No Content with nothing"},
		{"a redirect", answering(307, map[string]string{"Location": "http://elsewhere/"}, ""), fault.Unreachable, "elsewhere, which is not followed"},
		{"a proxy without a server", answering(502, html, "<html>"), fault.Unreachable, "answers 502 Bad Gateway"},
		{"a proxy that limits rates", answering(429, html, ""), fault.Busy, "answers 429"},
		{"a proxy that limits sizes", answering(413, html, ""), fault.TooLarge, "answers 413"},
		{"compression", answering(200, map[string]string{"Content-Type": "application/proto", "Content-Encoding": "gzip"}, "\x1f\x8b"), fault.Invalid, "encoded as \"gzip\""},
	} {
		server := serve(t, x.handler)
		c := client(t, server, once())
		_, unary := c.Info(t.Context())
		for form, err := range map[string]error{"info": unary, "all": everything(t.Context(), c)} {
			if fault.KindOf(err) != x.kind || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%s: %s: got %v (%v), want %v that says %q", x.name, form, err, fault.KindOf(err), x.kind, x.says)
			}
		}
	}
}

func TestAnotherServicesJSONIsNoRefusal(t *testing.T) {
	for body, want := range map[string]fault.Kind{
		`{}`: fault.Upgrade, `{"message":"x"}`: fault.Upgrade, `[1,2]`: fault.Invalid, `{"code`: fault.Invalid, ``: fault.Invalid,
		`{"code":"internal","details":[{"type":"parsec.v1.Refusal","value":"/w"}]}`: fault.Invalid,
	} {
		c := client(t, serve(t, answering(404, map[string]string{"Content-Type": "application/json"}, body)), once())
		if _, err := c.Info(t.Context()); fault.KindOf(err) != want {
			t.Errorf("call answered %s: got %v (%v), want %v", body, err, fault.KindOf(err), want)
		}
		err := c.Download(t.Context(), id.Workspace{1}, []id.Block{{1}}, func(id.Block, []byte) error { return nil })
		if k := fault.KindOf(err); k != fault.Failed && k != fault.Invalid {
			t.Errorf("download answered %s: got %v (%v)", body, err, k)
		}
	}
}

func TestNothingIsSentAfterARedirect(t *testing.T) {
	visited := false
	elsewhere := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited = true }))
	_ = everything(t.Context(), client(t, serve(t, answering(307, map[string]string{"Location": elsewhere}, "")), once()))
	if visited {
		t.Error("the redirect was followed")
	}
}

func TestAnotherSuiteNeedsAnotherProgram(t *testing.T) {
	f := new(fake)
	f.info = func() (*parsecv1.InfoResponse, error) { return &parsecv1.InfoResponse{Suite: "parsec/v2"}, nil }
	_, err := client(t, serve(t, f.handler()), once()).Info(t.Context())
	wantKind(t, err, fault.Upgrade)
}

func TestAServerThatCannotBeReachedIsNamedWithTheReason(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	secured := httptest.NewTLSServer(answering(200, nil, ""))
	defer secured.Close()
	secured.Config.ErrorLog = discardLog()
	hangup := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	plain := serve(t, answering(200, nil, ""))
	for _, x := range []struct{ name, server, says, hint string }{
		{"nobody listens", "http://" + closed.Addr().String(), "connection refused", "that the server runs"},
		{"no such host", "http://parsec.invalid", "no such host", "check the address"},
		{"an unknown authority", secured.URL, "certificate", "certificate is not valid"},
		{"http at an https address", strings.Replace(plain, "http:", "https:", 1), "TLS handshake", "may speak http"},
		{"https at an http address", strings.Replace(secured.URL, "https:", "http:", 1), "400 Bad Request", "check the address"},
		{"it hangs up", hangup, "it closed the connection", "check the address"},
	} {
		cfg := once()
		if strings.HasSuffix(x.server, ".invalid") {
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
			}
		}
		_, err := client(t, x.server, cfg).Info(t.Context())
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !fault.Is(err, fault.Unreachable) || !strings.Contains(text, x.server) || !strings.Contains(text, x.says) || !strings.Contains(fault.HintOf(err), x.hint) {
			t.Errorf("%s: got %v (%v), hint %q", x.name, err, fault.KindOf(err), fault.HintOf(err))
		}
	}
}

func TestTheCallersEndIsTheCallersOwn(t *testing.T) {
	arrived := make(chan struct{})
	c := client(t, serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server watch the connection
		close(arrived)
		<-r.Context().Done()
	})), quick())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	var call sync.WaitGroup
	call.Go(func() { _, err = c.Info(ctx) })
	<-arrived
	cancel()
	call.Wait()
	if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v (%v)", err, fault.KindOf(err))
	}
}
