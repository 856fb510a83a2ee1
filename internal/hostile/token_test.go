package hostile_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/clienttest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/format/request"
	"parsec/internal/hostile"
	"parsec/internal/server/servertest"
)

// recorded has Bob write and read through the proxy, and returns the requests
// that it saw with a token, one of each endpoint.
func (s *scene) recorded() []hostile.Recorded {
	s.Helper()
	s.ok(s.write("/notes.txt", "by bob")(s.bob))
	s.bob.Reopen()
	_, err := s.look(s.bob)
	s.ok(err)
	var all []hostile.Recorded
	seen := map[string]bool{}
	for _, r := range s.proxy.Log() {
		if r.Header.Get(request.Header) != "" && r.Status == http.StatusOK && !seen[r.Path] {
			seen[r.Path] = true
			all = append(all, r)
		}
	}
	for _, path := range []string{
		pack.UploadPath, pack.DownloadPath, hostile.Path("WorkspaceService/Commit"), hostile.Path("WorkspaceService/Pull"), hostile.Path("OrganizationService/Pull"),
	} {
		if !seen[path] {
			s.Fatalf("no request to %s was recorded", path)
		}
	}
	return all
}

// refuses expects that the server refuses a replayed request: by its status,
// or in a stream by an end without anything before it.
func (s *scene) refuses(path string, r hostile.Recorded) {
	s.Helper()
	status, body, err := s.proxy.Replay(r)
	streamed := status == http.StatusOK && len(body) > 5 && body[0]&2 != 0 && bytes.Contains(body, []byte(`"error"`))
	if err != nil || !streamed && (status < 400 || status >= 500) {
		s.Errorf("%s: status %d, %v; want a refusal", path, status, err)
	}
}

func TestAttack10_StolenRequests(t *testing.T) {
	s := newScene(t)
	all := s.recorded()
	for _, v := range []variant[func(*hostile.Recorded)]{
		{"at another endpoint", func(r *hostile.Recorded) {
			if r.Path == hostile.Path("WorkspaceService/Pull") {
				r.Path = hostile.Path("WorkspaceService/Manifests")
			} else {
				r.Path = hostile.Path("WorkspaceService/Pull")
			}
		}},
		{"with another query", func(r *hostile.Recorded) { r.Path += "?all=true" }},
		{"with another body", func(r *hostile.Recorded) { r.Body = flipped(append(r.Body, 0)) }},
		{"with another method", func(r *hostile.Recorded) { r.Method = http.MethodPut }},
	} {
		t.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			before := s.facts(s.bob)
			for _, r := range all {
				path := r.Path
				v.lie(&r)
				in.refuses(path, r)
			}
			if diff := cmp.Diff(before, s.facts(s.bob)); diff != "" {
				t.Errorf("the replays had an effect (-before +after):\n%s", diff)
			}
		})
	}
}

// A token is over the body, so that one device's is worth nothing with what
// another has sent.
func TestAttack10_RequestWithTheTokenOfAnotherDevice(t *testing.T) {
	s := newScene(t)
	s.alice.ToServer(s.proxy.URL)
	s.ok(s.write("/notes.txt", "by alice")(s.alice))
	s.ok(s.write("/notes.txt", "by bob")(s.bob))
	before := s.facts(s.bob)
	log := s.proxy.Log()
	tried := 0
	for _, r := range log {
		i := slices.IndexFunc(log, func(o hostile.Recorded) bool {
			return o.Path == r.Path && o.Header.Get(request.Header) != "" && !bytes.Equal(o.Body, r.Body)
		})
		if i < 0 {
			continue
		}
		r.Header = r.Header.Clone()
		r.Header.Set(request.Header, log[i].Header.Get(request.Header))
		s.refuses(r.Path, r)
		tried++
	}
	if tried == 0 {
		t.Error("no two requests of one endpoint were recorded")
	}
	if diff := cmp.Diff(before, s.facts(s.bob)); diff != "" {
		t.Errorf("the replays had an effect (-before +after):\n%s", diff)
	}
}

func TestAttack10_RequestToAnotherOrganization(t *testing.T) {
	s := newScene(t)
	all := s.recorded()
	other := servertest.Start(t, servertest.Config{})
	clienttest.Bootstrap(t, other.CreateOrganization("Acme"), "alice@example.com")
	s.proxy.SetServer(other.URL)
	for _, r := range all {
		s.refuses(r.Path, r)
	}
}

func TestAttack10_RequestSixMinutesLater(t *testing.T) {
	s := newScene(t)
	all := s.recorded()
	before := s.facts(s.bob)
	network := hurried()
	network.Now = func() time.Time { return time.Now().Add(6 * time.Minute) }
	s.restart(servertest.Config{Network: network})
	for _, r := range all {
		s.refuses(r.Path, r)
	}
	if diff := cmp.Diff(before, s.facts(s.bob)); diff != "" {
		t.Errorf("the replays had an effect (-before +after):\n%s", diff)
	}
}

// restart starts the server anew, at its address and with what it stores.
func (s *scene) restart(c servertest.Config) {
	s.Helper()
	s.server.Stop()
	if c.Dir == "" {
		c.Dir = s.server.Dir
	}
	c.Listen = strings.TrimPrefix(s.server.URL, "http://")
	s.server = servertest.Start(s, c)
}

func TestAttack10_RequestReplayedAtOnce(t *testing.T) {
	s := newScene(t)
	s.recorded()
	before := s.facts(s.bob)
	for range 2 {
		for _, r := range s.proxy.Log() {
			if _, _, err := s.proxy.Replay(r); err != nil {
				t.Errorf("%s: %v", r.Path, err)
			}
		}
	}
	if diff := cmp.Diff(before, s.facts(s.bob)); diff != "" {
		t.Errorf("the replays had an effect (-before +after):\n%s", diff)
	}
	s.bob.Reopen()
	s.ok(s.read(first().and("/notes.txt", "by bob"))(s.bob))
}

// once has the reply to one request at a path lost, after the server has
// handled it.
func once(p *hostile.Proxy, path string) {
	lost := make(chan struct{}, 1)
	lost <- struct{}{}
	p.Gate(func(r *http.Request) int {
		if r.URL.Path != path {
			return 0
		}
		select {
		case <-lost:
			return -1
		default:
			return 0
		}
	})
}

func TestLostReply_OfACommit(t *testing.T) {
	s := newScene(t)
	once(s.proxy, hostile.Path("WorkspaceService/Commit"))
	before := s.facts(s.bob).Records
	s.ok(s.write("/new.txt", "once")(s.bob))
	if got := s.facts(s.bob).Records; got != before+1 {
		t.Errorf("%d records more, want 1", got-before)
	}
	s.ok(s.read(first().and("/new.txt", "once"))(s.alice))
}

func TestLostReply_OfAnUpload(t *testing.T) {
	s := newScene(t)
	once(s.proxy, pack.UploadPath)
	before := s.facts(s.bob)
	s.ok(s.write("/new.txt", "once")(s.bob))
	if after := s.facts(s.bob); after.Records != before.Records+1 || after.Blocks != before.Blocks+1 {
		t.Errorf("before %+v, after %+v, want one record and one block more", before, after)
	}
	s.ok(s.read(first().and("/new.txt", "once"))(s.alice))
}

func TestLostReply_OfARecordOfTheOrganization(t *testing.T) {
	s := newScene(t)
	s.alice.ToServer(s.proxy.URL)
	s.ok(s.people(s.alice))
	once(s.proxy, hostile.Path("OrganizationService/Append"))
	before := s.facts(s.alice).Organization.Index
	_, err := s.alice.SetProfile(t.Context(), "bob@example.com", record.ProfileAdmin)
	s.ok(err)
	if got := s.facts(s.alice).Organization.Index; got != before+1 {
		t.Errorf("%d records more, want 1", got-before)
	}
	s.ok(s.people(s.bob))
}

func TestLostReply_OfARotation(t *testing.T) {
	s := newScene(t)
	s.alice.ToServer(s.proxy.URL)
	tree, err := s.open(s.alice)
	s.ok(err)
	once(s.proxy, hostile.Path("WorkspaceService/Append"))
	before := s.facts(s.alice).Workspace.Index
	s.ok(tree.Workspace().Rotate(t.Context()))
	if got := s.facts(s.alice).Workspace.Index; got != before+1 {
		t.Errorf("%d records more, want 1", got-before)
	}
	s.ok(s.read(first())(s.bob))
}

// All replies are lost, and then the program is killed: the next one sends the
// very same record, which the server recognises.
func TestLostReply_AndTheProgramKilled(t *testing.T) {
	s := newScene(t)
	s.proxy.Gate(func(r *http.Request) int {
		if r.URL.Path == hostile.Path("WorkspaceService/Commit") {
			return -1
		}
		return 0
	})
	before := s.facts(s.bob).Records
	if err := s.write("/new.txt", "once")(s.bob); err == nil {
		t.Error("a commit without any reply succeeded")
	}
	s.bob.Kill()
	s.proxy.Honest()
	s.bob.Reopen()
	s.ok(s.read(first().and("/new.txt", "once"))(s.bob))
	if got := s.facts(s.bob).Records; got != before+1 {
		t.Errorf("%d records more, want 1", got-before)
	}
}
