package hostile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parsec/internal/base/fault"
	"parsec/internal/client/clienttest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
)

// answers are those of a server that is broken, or means harm to whoever
// reads them: the type is that which was asked for.
func answers() map[string]func(http.ResponseWriter, *http.Request) {
	say := func(body []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.Write(body)
		}
	}
	noise := make([]byte, 64<<10)
	rand.Read(noise)
	return map[string]func(http.ResponseWriter, *http.Request){
		"nothing":               say(nil),
		"noise":                 say(noise),
		"a huge length":         say(binary.BigEndian.AppendUint32([]byte{0}, 0xffffffff)),
		"a huge length, framed": say(binary.BigEndian.AppendUint32(bytes.Repeat([]byte{7}, 16), 0x7fffffff)),
		"a message cut short":   say(append(binary.BigEndian.AppendUint32([]byte{0}, 1000), 10, 20)),
		"a field cut short":     say([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}),
		"groups in groups":      say(bytes.Repeat([]byte{0x0b}, 1<<20)),
		"a page of another program": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>Welcome to nginx!</html>")
		},
		"a compressed bomb, it says": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(noise)
		},
		"without end": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			for r.Context().Err() == nil {
				if _, err := w.Write(noise); err != nil {
					return
				}
			}
		},
		"a slow drip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.WriteHeader(http.StatusOK)
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte{0}); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		},
		"no answer at all": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a refusal without end": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(`{"code":`, 8<<10))); err != nil {
					return
				}
			}
		},
		"a broken connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
}

// asks has a client use every endpoint of the server but those of an event
// stream.
func (s *scene) asks() map[string]func(*clienttest.Person) error {
	sync := func(p *clienttest.Person) error { return p.Held.Sync(s.Context()) }
	tree := func(p *clienttest.Person) error { _, err := s.open(p); return err }
	rotate := func(p *clienttest.Person) error {
		t, err := s.open(p)
		if err != nil {
			return err
		}
		return t.Workspace().Rotate(s.Context())
	}
	invite := func(p *clienttest.Person) error {
		_, err := p.InviteUser(s.Context(), "carol@example.com", record.ProfileStandard)
		return err
	}
	content := func(p *clienttest.Person) error { _, err := s.look(p); return err }
	grants := func(p *clienttest.Person) error { _, err := p.Server().Grants(s.Context(), s.workspace()); return err }
	list := func(p *clienttest.Person) error { _, err := p.Server().ListWorkspaces(s.Context()); return err }
	return map[string]func(*clienttest.Person) error{
		hostile.Path("OrganizationService/Pull"):            sync,
		hostile.Path("OrganizationService/GetUserManifest"): sync,
		hostile.Path("OrganizationService/ListWorkspaces"):  list,
		hostile.Path("OrganizationService/Append"): func(p *clienttest.Person) error {
			_, err := p.SetProfile(s.Context(), "bob@example.com", record.ProfileAdmin)
			return err
		},
		hostile.Path("WorkspaceService/Pull"):      tree,
		hostile.Path("WorkspaceService/Append"):    rotate,
		hostile.Path("WorkspaceService/Commit"):    s.write("/new.txt", "new"),
		hostile.Path("WorkspaceService/Manifests"): func(p *clienttest.Person) error { s.forget(p); return content(p) },
		hostile.Path("WorkspaceService/Grants"):    grants,
		hostile.Path("InvitationService/Create"):   invite,
		hostile.Path("InvitationService/List"):     func(p *clienttest.Person) error { _, err := p.Invitations(s.Context()); return err },
		pack.UploadPath:                            s.write("/new.txt", "new"),
		pack.DownloadPath:                          content,
	}
}

// forget throws away a person's cache, so that all manifests are asked for.
func (s *scene) forget(p *clienttest.Person) {
	s.Helper()
	s.ok(p.Local().Cache.Reset(s.Context()))
}

// No answer makes the client panic, wait for ever, take all memory or leave
// something running; and all are told apart from an honest failure.
func TestAttack19_AnswersOfEveryEndpoint(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := stage(t)
	defer s.end()
	s.alice.ToServer(s.proxy.URL)
	s.alice.Close()
	s.alice.Place.Config.Remote.Patience = 100 * time.Millisecond
	s.alice.Place.Config.Remote.Retry.Attempts = 1
	s.alice.Reopen()
	_, err := s.look(s.alice)
	s.ok(err)
	var before, after runtime.MemStats
	for path, ask := range s.asks() {
		for name, answer := range answers() {
			if waits(name) && !one(path) {
				continue
			}
			runtime.ReadMemStats(&before)
			s.proxy.Answer(path, answer)
			begin := time.Now()
			err := ask(s.alice)
			took := time.Since(begin)
			s.proxy.Honest()
			runtime.ReadMemStats(&after)
			switch grown := after.TotalAlloc - before.TotalAlloc; {
			case name == "nothing": // a message without fields says little, but says it rightly
			case err == nil:
				t.Errorf("%s answered with %s: no error", path, name)
			case fault.Is(err, fault.Integrity) || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x00\x1b\n"):
				t.Errorf("%s answered with %s: %q", path, name, err)
			case took > 5*time.Second:
				t.Errorf("%s answered with %s: took %s", path, name, took)
			case grown > 256<<20:
				t.Errorf("%s answered with %s: took %d MiB", path, name, grown>>20)
			}
		}
	}
	s.alice.Close()
	s.alice.Place.Config.Remote.Patience = 0
	s.alice.Reopen()
	s.ok(s.write("/honest.txt", "again")(s.alice))
}

// waits reports whether an answer is one that a client has to wait for until
// its patience ends.
func waits(answer string) bool {
	return answer == "no answer at all" || answer == "a slow drip" || answer == "without end"
}

// one reports whether an endpoint is the one of its kind that has to wait for
// the others: of unary calls, streams, and both ways of blocks.
func one(path string) bool {
	return path == hostile.Path("WorkspaceService/Grants") || path == hostile.Path("WorkspaceService/Pull") ||
		path == pack.UploadPath || path == pack.DownloadPath
}
