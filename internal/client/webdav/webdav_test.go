package webdav_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"parsec/internal/client/clienttest"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/syncer"
	"parsec/internal/client/webdav"
	"parsec/internal/server/servertest"
)

// desk is a person's device with its workspaces over WebDAV.
type desk struct {
	t      testing.TB
	person *clienttest.Person
	all    *syncer.Device
	// view is another face.
	view *filesystem.View
	// url is that of the root, without a slash at its end.
	url, password string
	// now is the clock of locks.
	now clock
}

// clock is a clock that only a test moves.
type clock struct {
	mu sync.Mutex
	by time.Duration
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(1e9, 0).Add(c.by)
}

// sit opens a person's device, and serves what the options show.
func sit(t testing.TB, p *clienttest.Person, opts filesystem.Options) *desk {
	t.Helper()
	space := func(context.Context) (filesystem.Space, error) {
		return filesystem.Space{Total: 1 << 40, Free: 1 << 39}, nil
	}
	all, err := syncer.OpenDevice(t.Context(), p.Session, syncer.DeviceConfig{
		Folder: p.Folder(), Files: filesystem.Config{Space: space, Patience: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, person: p, all: all, view: all.Files().View(filesystem.Options{}), password: webdav.NewPassword()}
	t.Cleanup(func() { d.ok(all.Close()) })
	d.ok(all.Discover(t.Context()))
	d.url = d.serve(opts)
	return d
}

// serve serves a view, and returns the URL.
func (d *desk) serve(opts filesystem.Options) string {
	d.t.Helper()
	l, err := webdav.Listen(d.t.Context(), "127.0.0.1:0", false)
	d.ok(err)
	h := webdav.New(d.all.Files().View(opts), webdav.Config{ReadOnly: opts.ReadOnly, Now: d.now.time})
	s := webdav.Start(l, webdav.Guard(h, webdav.Access{Password: d.password}))
	d.t.Cleanup(func() { d.ok(s.Close()) })
	return strings.TrimSuffix(s.URL(), "/")
}

// alone returns somebody with the workspaces "plans" and "accounts".
func alone(t testing.TB) *desk {
	t.Helper()
	p := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	p.CreateWorkspace("accounts")
	return sit(t, p, filesystem.Options{})
}

func (d *desk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// sync syncs the workspace "plans" until nothing is left.
func (d *desk) sync() {
	d.t.Helper()
	s, err := d.all.Find("plans")
	d.ok(err)
	d.ok(s.Finish(d.t.Context()))
}

// answer is what a request is answered with.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request. Headers are "Name: value".
func (d *desk) do(method, path, body string, headers ...string) answer {
	d.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	q, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, r)
	d.ok(err)
	q.SetBasicAuth(webdav.User, d.password)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "":
		case "Host":
			q.Host = value
		default:
			q.Header.Add(name, value)
		}
	}
	return d.send(q)
}

func (d *desk) send(q *http.Request) answer {
	d.t.Helper()
	a, err := http.DefaultClient.Do(q)
	d.ok(err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	d.ok(err)
	return answer{a.StatusCode, a.Header, string(b)}
}

// want makes a request that must be answered with a status.
func (d *desk) want(status int, method, path, body string, headers ...string) answer {
	d.t.Helper()
	a := d.do(method, path, body, headers...)
	if a.status != status {
		d.t.Errorf("%s %s %q: %d %q, want %d", method, path, headers, a.status, a.body, status)
	}
	return a
}

// has fails if an answer's body does not contain all parts.
func (a answer) has(t testing.TB, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("%q is not in %s", p, a.body)
		}
	}
}

func (a answer) hasNot(t testing.TB, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(a.body, p) {
			t.Errorf("%q is in %s", p, a.body)
		}
	}
}

// raw returns a connection to the server.
func (d *desk) raw() net.Conn {
	d.t.Helper()
	c, err := (&net.Dialer{}).DialContext(d.t.Context(), "tcp", strings.TrimPrefix(d.url, "http://"))
	d.ok(err)
	return c
}
