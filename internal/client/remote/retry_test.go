package remote_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/format/pack"
)

// pipes is a network in memory, for tests in which time is not real.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inTime runs a test with a client and a server, in time that is not real.
func inTime(t *testing.T, h http.Handler, cfg remote.Config, test func(*testing.T, *remote.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		server := &http.Server{Handler: h, ErrorLog: discardLog()}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(network) })
		cfg.Dial = network.dial
		c, err := remote.New("http://server", newDevice().Identity, cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
		c.Close()
		if err := server.Shutdown(t.Context()); err != nil { // waits for handlers
			t.Error(err)
		}
		serving.Wait()
	})
}

func TestPausesBetweenAttemptsGrowAndEnd(t *testing.T) {
	for _, x := range []struct {
		name  string
		kind  fault.Kind
		retry remote.Retry
		// most are the longest pauses; each is at least half as long.
		most []time.Duration
	}{
		{
			"unreachable, by default", fault.Unreachable,
			remote.Retry{},
			[]time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond},
		},
		{
			"busy, up to the longest pause", fault.Busy,
			remote.Retry{Attempts: 5, First: time.Second, Most: 3 * time.Second},
			[]time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second},
		},
		{
			"no longer than there is time", fault.Busy,
			remote.Retry{Attempts: 100, First: 8 * time.Second, Most: 8 * time.Second, Within: 12 * time.Second},
			[]time.Duration{8 * time.Second},
		},
		{"once", fault.Unreachable, remote.Retry{Attempts: 1}, nil},
		{"denied", fault.Denied, remote.Retry{}, nil},
		{"stale", fault.Stale, remote.Retry{}, nil},
		{"missing", fault.Missing, remote.Retry{}, nil},
		{"failed", fault.Failed, remote.Retry{}, nil},
		{"invalid", fault.Invalid, remote.Retry{}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			var times []time.Time
			f := new(fake)
			f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) {
				times = append(times, time.Now())
				return nil, refuse(x.kind, "no", &parsecv1.Refusal{})
			}
			inTime(t, f.handler(), remote.Config{Retry: x.retry}, func(t *testing.T, c *remote.Client) {
				_, err := c.ListWorkspaces(t.Context())
				wantKind(t, err, x.kind)
			})
			if x.name == "no longer than there is time" && len(times) == 3 {
				times = times[:2] // two short pauses fit
			}
			if len(times) != len(x.most)+1 {
				t.Fatalf("%d attempts, want %d", len(times), len(x.most)+1)
			}
			for i, most := range x.most {
				if p := times[i+1].Sub(times[i]); p < most/2 || p > most {
					t.Errorf("pause %d of %v, want %v to %v", i, p, most/2, most)
				}
			}
		})
	}
}

func TestWhoCanDoWithoutAnAnswerAsksOnce(t *testing.T) {
	asked := 0
	f := new(fake)
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) {
		asked++
		return nil, refuse(fault.Unreachable, "no", &parsecv1.Refusal{})
	}
	inTime(t, f.handler(), remote.Config{}, func(t *testing.T, c *remote.Client) {
		_, err := c.ListWorkspaces(remote.Once(t.Context()))
		wantKind(t, err, fault.Unreachable)
	})
	if asked != 1 {
		t.Errorf("it asked %d times", asked)
	}
}

func TestThePauseEndsWithTheCallersContext(t *testing.T) {
	f := new(fake)
	f.workspaces = func() (*parsecv1.ListWorkspacesResponse, error) {
		return nil, refuse(fault.Busy, "no", &parsecv1.Refusal{})
	}
	cfg := remote.Config{Retry: remote.Retry{First: time.Hour, Most: time.Hour, Within: 24 * time.Hour}}
	inTime(t, f.handler(), cfg, func(t *testing.T, c *remote.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		began := time.Now()
		_, err := c.ListWorkspaces(ctx)
		if !errors.Is(err, context.Canceled) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err = c.ListWorkspaces(late); !fault.Is(err, fault.Busy) {
			t.Errorf("out of time: got %v (%v), want why it took so long", err, fault.KindOf(err))
		}
	})
}

func TestASilentServerIsLeftWhenPatienceEnds(t *testing.T) {
	f := new(fake)
	silent := func(ctx context.Context) { <-ctx.Done() }
	f.subscribe = func(ctx context.Context, s parsecv1connect.OrganizationServiceSubscribeServerStream) error {
		if err := s.Send(&parsecv1.SubscribeResponse{Index: 1}); err != nil {
			return err
		}
		silent(ctx)
		return ctx.Err()
	}
	mux := f.handler()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		silent(r.Context())
	})
	w := id.Workspace{1}
	for name, x := range map[string]struct {
		after time.Duration
		call  func(context.Context, *remote.Client) error
	}{
		"a call": {30 * time.Second, func(ctx context.Context, c *remote.Client) error {
			return c.CancelInvitation(ctx, id.Token{1})
		}},
		"a turn of an enrollment": {60 * time.Second, func(ctx context.Context, c *remote.Client) error {
			_, err := c.Greet(ctx, id.Token{1}, remote.Turn{Step: 1})
			return err
		}},
		"an upload": {90 * time.Second, func(ctx context.Context, c *remote.Client) error {
			return c.Upload(ctx, w, []pack.Block{{ID: id.Block{1}, Length: 1}}, [][]byte{{1}})
		}},
		"a download": {30 * time.Second, func(ctx context.Context, c *remote.Client) error {
			return c.Download(ctx, w, []id.Block{{1}}, func(id.Block, []byte) error { return nil })
		}},
		"events after the first": {60 * time.Second, func(ctx context.Context, c *remote.Client) error {
			return c.Subscribe(ctx, func(remote.Event) error { return nil })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, mux, once(), func(t *testing.T, c *remote.Client) {
				began := time.Now()
				err := x.call(t.Context(), c)
				wantKind(t, err, fault.Unreachable)
				if took := time.Since(began); took != x.after {
					t.Errorf("left after %v, want %v: %v", took, x.after, err)
				}
			})
		})
	}
}

func TestTheCallersOwnTimeIsNotTheServers(t *testing.T) {
	f := new(fake)
	f.pull = func(_ *parsecv1.OrganizationPullRequest, s parsecv1connect.OrganizationServicePullServerStream) error {
		for i := range 3 {
			if err := s.Send(&parsecv1.OrganizationPullResponse{Position: at(3), Records: [][]byte{{byte(i)}}}); err != nil {
				return err
			}
		}
		return nil
	}
	inTime(t, f.handler(), once(), func(t *testing.T, c *remote.Client) {
		if err := c.PullOrganization(t.Context(), 0, func(remote.Batch) error {
			time.Sleep(time.Hour)
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// drip answers with a few bytes at a time.
func drip(kind string, size, step int, every time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for sent := 0; sent < size; sent += step {
			if _, err := w.Write(make([]byte, min(step, size-sent))); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(every)
		}
	})
}

func TestASlowLineIsWaitedForAndADripIsNot(t *testing.T) {
	for _, x := range []struct {
		name     string
		step     int
		kind     fault.Kind
		min, max time.Duration
	}{
		// The whole message comes, and then is none: zeros do not decode.
		{"twice the slowest pace", 64 << 10, fault.Invalid, 63 * time.Second, 65 * time.Second},
		{"half of it", 16 << 10, fault.Unreachable, 59 * time.Second, 61 * time.Second},
		{"a byte a second", 1, fault.Unreachable, 30 * time.Second, 31 * time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTime(t, drip("application/proto", 4<<20, x.step, time.Second), once(), func(t *testing.T, c *remote.Client) {
				began := time.Now()
				_, err := c.GetUserManifest(t.Context())
				wantKind(t, err, x.kind)
				if took := time.Since(began); took < x.min || took > x.max {
					t.Errorf("ended after %v: %v", took, err)
				}
			})
		})
	}
}

// forgetful is a proxy that lets the server answer, and drops the first answers.
func forgetful(t *testing.T, server string, drops int) string {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		Transport: &http.Transport{DisableKeepAlives: true},
		ModifyResponse: func(*http.Response) error {
			mu.Lock()
			defer mu.Unlock()
			if drops--; drops >= 0 {
				return errors.New("dropped")
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     discardLog(),
	}
	return serve(t, p)
}

func TestWhatLostItsReplyIsSentAgainByteForByte(t *testing.T) {
	var mu sync.Mutex
	sent := make(map[string][][32]byte)
	next := willing()
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		sent[r.URL.Path] = append(sent[r.URL.Path], sha256.Sum256(data))
		mu.Unlock()
		r.Body = io.NopCloser(bytesReader(data))
		next.ServeHTTP(w, r)
	}))
	body := make([]byte, 3<<20)
	for path, call := range map[string]func(*remote.Client) error{
		parsecv1connect.WorkspaceServiceCommitProcedure: func(c *remote.Client) error {
			p, err := c.Commit(t.Context(), id.Workspace{1}, remote.Commit{Record: body[:1000], Manifests: [][]byte{body}})
			if err == nil && p.Index != 4 {
				t.Errorf("position %v", p)
			}
			return err
		},
		pack.UploadPath: func(c *remote.Client) error {
			return c.Upload(t.Context(), id.Workspace{1}, []pack.Block{{ID: id.Block{1}, Length: 3 << 20}}, [][]byte{body})
		},
		pack.DownloadPath: func(c *remote.Client) error {
			n := 0
			err := c.Download(t.Context(), id.Workspace{1}, []id.Block{{1}, {2}}, func(id.Block, []byte) error { n++; return nil })
			if err == nil && n != 2 {
				t.Errorf("%d blocks came, want 2", n)
			}
			return err
		},
	} {
		if err := call(client(t, forgetful(t, server, 2), quick())); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if s := sent[path]; len(s) != 3 || s[0] != s[1] || s[1] != s[2] {
			t.Errorf("%s: sent %d times, or not the same", path, len(s))
		}
		err := call(client(t, forgetful(t, server, 100), quick()))
		if !fault.Is(err, fault.Unreachable) {
			t.Errorf("%s, never answered: %v", path, err)
		}
		clear(sent)
	}
}
