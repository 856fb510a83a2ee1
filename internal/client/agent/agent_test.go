//go:build unix

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/device"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/home"
	"parsec/internal/client/socket"
	"parsec/internal/client/workspace"
	"parsec/internal/server/servertest"
)

// hold opens a person's device as a process that stays, or as one that does not,
// and returns it with the folder of its socket.
func hold(t *testing.T, p *clienttest.Person, stays bool) (*agent.Agent, string) {
	t.Helper()
	p.Close()
	all, err := device.List(p.Place.Home)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d devices: %v", len(all), err)
	}
	p.Place.Holder.Command = "parsec test"
	a, err := agent.Open(t.Context(), p.Place, all[0], p.Lock(), agent.Config{Stays: stays, Short: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return a, home.Folder(p.Place.Home, all[0].Device)
}

// acme returns the founder of an organization with a workspace.
func acme(t *testing.T) (*clienttest.Person, *servertest.Server) {
	t.Helper()
	server := servertest.Start(t, servertest.Config{})
	p := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	return p, server
}

func dial(t *testing.T, folder string) *agent.Client {
	c := agent.Dial(folder)
	t.Cleanup(c.Close)
	return c
}

// mkdir makes a folder through the file system of an agent.
func mkdir(t *testing.T, a *agent.Agent, name string) {
	t.Helper()
	d, err := a.Syncing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Find("plans")
	if err != nil {
		t.Fatal(err)
	}
	view := d.Files().View(filesystem.Options{Workspace: s.ID()})
	if _, err := view.MkdirAll(t.Context(), "/"+name); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherProcessIsToldHowWorkspacesStand(t *testing.T) {
	p, _ := acme(t)
	a, folder := hold(t, p, false)
	c := dial(t, folder)
	said, err := c.Status(t.Context())
	if err != nil || said.GetOffline() || len(said.GetWorkspaces()) != 1 {
		t.Fatalf("%v, %v", said, err)
	}
	if w := said.GetWorkspaces()[0]; w.GetName() != "plans" || w.GetState() != "synced" || !w.GetComplete() || w.GetPending() != 0 || w.GetSince() == 0 {
		t.Errorf("it stands as %v", w)
	}
	mkdir(t, a, "garden")
	done, err := c.Sync(t.Context(), &agentv1.SyncRequest{Workspaces: []string{"plans"}, Wait: true})
	if err != nil || len(done.GetWorkspaces()) != 1 || done.GetWorkspaces()[0].GetPending() != 0 {
		t.Errorf("synced: %v, %v", done, err)
	}
}

func TestFailuresAreToldAsTheyAre(t *testing.T) {
	p, server := acme(t)
	_, folder := hold(t, p, false)
	c := dial(t, folder)
	check := func(err error, kind fault.Kind, message string) {
		t.Helper()
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) || fault.HintOf(err) == "" {
			t.Errorf("%v of kind %v, with the hint %q; want %v, %q and a hint", err, fault.KindOf(err), fault.HintOf(err), kind, message)
		}
	}
	_, err := c.Sync(t.Context(), &agentv1.SyncRequest{Workspaces: []string{"nothing"}})
	check(err, fault.NotFound, `no workspace "nothing"`)
	check(c.Watch(t.Context(), func(*agentv1.WatchResponse) error { return nil }), fault.NotFound, "no agent runs")
	if err := agent.Stop(t.Context(), folder); !fault.Is(err, fault.Conflict) {
		t.Errorf("a command was told to stop: %v", err)
	}
	server.Stop()
	_, err = c.Sync(t.Context(), &agentv1.SyncRequest{})
	check(err, fault.Unreachable, "cannot reach")
	if said, err := c.Status(t.Context()); err != nil || !said.GetOffline() || said.GetWorkspaces()[0].GetState() != "offline" {
		t.Errorf("without a server: %v, %v", said, err)
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	p, _ := acme(t)
	_, folder := hold(t, p, false)
	c := dial(t, folder)
	if _, err := c.Sync(t.Context(), &agentv1.SyncRequest{Workspaces: make([]string, 1001)}); !fault.Is(err, fault.Usage) {
		t.Errorf("1,001 names: %v", err)
	}
	if _, err := c.Sync(t.Context(), &agentv1.SyncRequest{Workspaces: []string{strings.Repeat("x", 100<<10)}}); err == nil {
		t.Error("a request of 100 KiB was taken")
	}
	if _, err := c.Status(t.Context()); err != nil { // it goes on for others
		t.Error(err)
	}
}

func TestWhoWatchesIsToldWhatChangesUntilTheAgentEnds(t *testing.T) {
	p, _ := acme(t)
	a, folder := hold(t, p, true)
	news := make(chan *agentv1.WatchResponse)
	var watching errgroup.Group
	watching.Go(func() error {
		defer close(news)
		c := agent.Dial(folder)
		defer c.Close()
		return c.Watch(t.Context(), func(m *agentv1.WatchResponse) error {
			news <- m
			return nil
		})
	})
	first := <-news
	if all := first.GetWorkspaces(); len(all) != 1 || all[0].GetName() != "plans" {
		t.Errorf("first it was told %v", first)
	}
	if _, err := workspace.Create(t.Context(), a.Held().Session, "later"); err != nil {
		t.Fatal(err)
	}
	told := false
	for m := range news { // the server tells the agent, and the agent tells us
		for _, w := range m.GetWorkspaces() {
			if w.GetName() == "later" && !told {
				told = true
				watching.Go(a.Drain)
			}
		}
	}
	if err := watching.Wait(); err != nil || !told {
		t.Errorf("it was told: %v; then %v", told, err)
	}
}

// Whoever knows the secret is the owner, but may be ill: nothing that it sends
// breaks the process or is answered with anything but an error.
func FuzzRequests(f *testing.F) {
	f.Add("Sync", []byte{10, 5, 'p', 'l', 'a', 'n', 's'})
	f.Add("Status", []byte(nil))
	f.Add("Watch", []byte{0, 0, 0, 0, 1, 255})
	f.Add("About", bytes.Repeat([]byte{255}, 100))
	f.Add("Nothing", []byte("{}"))
	server := servertest.Start(f, servertest.Config{})
	p := clienttest.Bootstrap(f, server.CreateOrganization("Acme"), "alice@example.com")
	p.Close()
	all, err := device.List(p.Place.Home)
	if err != nil {
		f.Fatal(err)
	}
	a, err := agent.Open(f.Context(), p.Place, all[0], p.Lock(), agent.Config{Short: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			f.Error(err)
		}
	})
	h := socket.Client(home.Folder(p.Place.Home, all[0].Device))
	f.Fuzz(func(t *testing.T, call string, body []byte) {
		for _, kind := range []string{"application/proto", "application/connect+proto", "application/json"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://agent/parsec.agent.v1.AgentService/x", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Path = "/parsec.agent.v1.AgentService/" + call
			r.Header.Set("Content-Type", kind)
			answer, err := h.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, answer.Body)
			if err := errors.Join(err, answer.Body.Close()); err != nil {
				t.Fatal(err)
			}
		}
		c := agent.Dial(home.Folder(p.Place.Home, all[0].Device))
		defer c.Close()
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatalf("after that it does not answer: %v", err)
		}
	})
}
