package enroll_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/enroll"
	"parsec/internal/client/seal"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// scene is an invitation, with what each side knows of it.
type scene struct {
	statement invitation.Statement
	key       ed25519.PrivateKey
	greeting  enroll.Greeting
	link      invitation.Link
	device    record.DeviceKeys
	user      record.PublicKey
}

func newScene(t testing.TB, kind invitation.Type) scene {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	s := scene{key: key, statement: invitation.Statement{
		Organization: id.Fingerprint{1}, Token: id.Token{2}, Type: kind, Author: id.Device{3},
		Created: now.Add(-time.Hour).UnixNano(), Expires: now.Add(time.Hour).UnixNano(),
	}}
	if kind == invitation.ForUser {
		s.statement.Email, s.statement.Profile = "bob@example.com", record.ProfileStandard
	} else {
		s.statement.User = id.User{4}
	}
	public := key.Public().(ed25519.PublicKey)
	s.greeting = enroll.Greeting{
		Invitation: invitation.Sign(s.statement, key), Author: public,
		Organization: s.statement.Organization, User: id.User{4}, Now: now,
	}
	s.link = invitation.Link{Server: "https://parsec.example", Token: s.statement.Token, Organization: s.statement.Organization}
	pair, err := seal.ParseKeyPair(bytes.Repeat([]byte{5}, seal.PrivateKeySize))
	if err != nil {
		t.Fatal(err)
	}
	s.user = pair.Public()
	s.device = record.DeviceKeys{Device: id.Device{6}, Verify: public, Encrypt: pair.Public()}
	return s
}

func (s scene) claim() enroll.Claim {
	c := enroll.Claim{Device: s.device}
	if s.statement.Type == invitation.ForUser {
		c.Name, c.UserKey = "Bob", s.user
	}
	return c
}

func (s scene) welcome() enroll.Welcome {
	w := enroll.Welcome{
		Organization: s.statement.Organization, Root: s.device.Verify,
		Head: record.Position{Index: 8, Head: record.Head{9}}, User: id.User{4},
		Opening: record.Opening{User: id.User{4}, Salt: [32]byte{7}, Email: "bob@example.com", Name: "Bob"},
	}
	if s.statement.Type == invitation.ForDevice {
		w.UserKeys = []secret.Bytes{bytes.Repeat([]byte{8}, 32), bytes.Repeat([]byte{9}, 32)}
		w.UserManifest = usermanifest.Pin{Version: 2, Digest: [32]byte{3}}
		w.Workspaces = []usermanifest.Workspace{{Workspace: id.Workspace{1}, Head: record.Position{Index: 2}, Organization: 3}}
	}
	return w
}

func (s scene) greeter(t testing.TB) *enroll.Greeter {
	t.Helper()
	g, err := enroll.NewGreeter(s.greeting)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (s scene) claimer(t testing.TB) *enroll.Claimer {
	t.Helper()
	c, err := enroll.NewClaimer(s.link, s.greeting.Invitation)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// got fails the test when an honest step fails.
func got(t testing.TB, m enroll.Message, err error) enroll.Message {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// upTo runs an honest exchange until the named step was sent, and returns all
// messages by step.
func (s scene) upTo(t testing.TB, step int, g *enroll.Greeter, c *enroll.Claimer) map[int]enroll.Message {
	t.Helper()
	sent := make(map[int]enroll.Message)
	give := func(m enroll.Message, err error) { t.Helper(); sent[int(got(t, m, err).Step)] = m }
	for n := 1; n <= step; n++ {
		switch n {
		case 1:
			give(c.Start())
		case 3, 5:
			give(c.Receive(sent[n-1]))
		case 2, 4:
			give(g.Receive(sent[n-1]))
		case 6:
			got(t, sent[0], mustNone(g.Receive(sent[5])))
			if err := c.Enter(g.Code()); err != nil {
				t.Fatal(err)
			}
			give(g.Enter(c.Code()))
		case 7:
			got(t, sent[0], mustNone(c.Receive(sent[6])))
			give(c.Claim(s.claim()))
		case 8:
			got(t, sent[0], mustNone(g.Receive(sent[7])))
			give(g.Welcome(s.welcome()))
		case 9:
			got(t, sent[0], mustNone(c.Receive(sent[8])))
			give(c.Stored())
		}
	}
	return sent
}

// mustNone turns an answer where none belongs into an error.
func mustNone(m enroll.Message, err error) error {
	if err == nil && !m.None() {
		return fault.Errorf(fault.Failed, "an answer for step %d", m.Step)
	}
	return err
}

func wantAlone(t testing.TB, err error) {
	t.Helper()
	if fault.PromiseOf(err) != enroll.PromiseAlone || !strings.Contains(fault.HintOf(err), "in between") {
		t.Errorf("got %v, want the warning of somebody in between", err)
	}
}

func TestAnHonestExchangeEnrolls(t *testing.T) {
	for _, kind := range []invitation.Type{invitation.ForUser, invitation.ForDevice} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newScene(t, kind)
			g, c := s.greeter(t), s.claimer(t)
			sent := s.upTo(t, 9, g, c)
			if err := mustNone(g.Receive(sent[9])); err != nil || !g.Done() {
				t.Errorf("the greeter is not done, %v", err)
			}
			claim, ok := g.Claim()
			if diff := cmp.Diff(s.claim(), claim, cmpopts.EquateEmpty()); !ok || diff != "" {
				t.Error(ok, diff)
			}
			w, ok := c.Welcome()
			if diff := cmp.Diff(s.welcome(), w, cmpopts.EquateEmpty()); !ok || diff != "" {
				t.Error(ok, diff)
			}
			if g.Expects() != 0 || c.Expects() != 0 {
				t.Error("somebody still waits")
			}
		})
	}
}

func TestEachSideSaysWhatItWaitsFor(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	g, c := s.greeter(t), s.claimer(t)
	if g.Expects() != 1 || c.Expects() != 0 {
		t.Errorf("at first the greeter waits for %d, the claimer for %d", g.Expects(), c.Expects())
	}
	sent := s.upTo(t, 5, g, c)
	if c.Expects() != 0 || g.Expects() != 5 {
		t.Errorf("before the codes the greeter waits for %d, the claimer for %d", g.Expects(), c.Expects())
	}
	got(t, enroll.Message{}, mustNone(g.Receive(sent[5])))
	if g.Expects() != 0 || len(g.Code()) != 4 || c.Code() != "" {
		t.Errorf("the greeter waits for %d with code %q, the claimer shows %q", g.Expects(), g.Code(), c.Code())
	}
	if err := c.Enter(g.Code()); err != nil || c.Expects() != 6 || len(c.Code()) != 4 || c.Code() == g.Code() {
		t.Errorf("the claimer waits for %d with code %q, %v", c.Expects(), c.Code(), err)
	}
}

func TestALongWelcomeComesInParts(t *testing.T) {
	s := newScene(t, invitation.ForDevice)
	g, c := s.greeter(t), s.claimer(t)
	got(t, enroll.Message{}, mustNone(g.Receive(s.upTo(t, 7, g, c)[7])))
	want := s.welcome()
	want.Workspaces = many(3000)
	m, err := g.Welcome(want)
	parts := 0
	for ; err == nil && !m.None(); parts++ {
		if len(m.Data) > enroll.MaxMessage {
			t.Fatalf("a message of %d bytes", len(m.Data))
		}
		if m, err = c.Receive(m); err == nil && m.None() {
			break
		}
		if err == nil {
			m, err = g.Receive(m)
		}
	}
	if err != nil || parts < 2 {
		t.Fatalf("%d parts, %v", parts+1, err)
	}
	w, ok := c.Welcome()
	if diff := cmp.Diff(want.Workspaces, w.Workspaces); !ok || diff != "" {
		t.Error(ok, diff)
	}
	if m, err = c.Stored(); err != nil {
		t.Fatal(err)
	}
	if err := mustNone(g.Receive(m)); err != nil || !g.Done() {
		t.Errorf("the greeter is not done, %v", err)
	}
}

func many(n int) []usermanifest.Workspace {
	all := make([]usermanifest.Workspace, n)
	for i := range all {
		all[i] = usermanifest.Workspace{Workspace: id.Workspace{byte(i >> 16), byte(i >> 8), byte(i)}, Head: record.Position{Index: 1}}
	}
	return all
}

func TestAWelcomeBeyondAllBoundsIsNotSent(t *testing.T) {
	s := newScene(t, invitation.ForDevice)
	g, c := s.greeter(t), s.claimer(t)
	got(t, enroll.Message{}, mustNone(g.Receive(s.upTo(t, 7, g, c)[7])))
	w := s.welcome()
	w.Workspaces = many(30_000)
	if _, err := g.Welcome(w); !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestAWrongCodeEndsTheAttempt(t *testing.T) {
	other := func(code string) string {
		if code[0] == 'Z' {
			return "Y" + code[1:]
		}
		return "Z" + code[1:]
	}
	t.Run("typed by the claimer", func(t *testing.T) {
		s := newScene(t, invitation.ForUser)
		g, c := s.greeter(t), s.claimer(t)
		sent := s.upTo(t, 5, g, c)
		got(t, enroll.Message{}, mustNone(g.Receive(sent[5])))
		wantAlone(t, c.Enter(other(g.Code())))
		wantAlone(t, c.Enter(g.Code()))
		if c.Code() != "" || c.Expects() != 0 {
			t.Error("the claimer goes on")
		}
		wantAlone(t, g.Abort())
		_, err := g.Enter("0000")
		wantAlone(t, err)
	})
	t.Run("typed by the greeter", func(t *testing.T) {
		s := newScene(t, invitation.ForUser)
		g, c := s.greeter(t), s.claimer(t)
		sent := s.upTo(t, 5, g, c)
		got(t, enroll.Message{}, mustNone(g.Receive(sent[5])))
		if err := c.Enter(g.Code()); err != nil {
			t.Fatal(err)
		}
		right := c.Code()
		_, err := g.Enter(other(right))
		wantAlone(t, err)
		_, err = g.Enter(right)
		wantAlone(t, err)
		wantAlone(t, c.Abort())
	})
	t.Run("the greeter's own", func(t *testing.T) {
		s := newScene(t, invitation.ForUser)
		g, c := s.greeter(t), s.claimer(t)
		sent := s.upTo(t, 5, g, c)
		got(t, enroll.Message{}, mustNone(g.Receive(sent[5])))
		_, err := g.Enter(g.Code())
		wantAlone(t, err)
	})
}

func TestAMistypedCodeMayBeTypedAgain(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	g, c := s.greeter(t), s.claimer(t)
	sent := s.upTo(t, 5, g, c)
	got(t, enroll.Message{}, mustNone(g.Receive(sent[5])))
	for _, text := range []string{"", "ABC", "ABCDE", "AB!D", "ABCU"} {
		if err := c.Enter(text); !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if err := c.Enter(" " + strings.ToLower(g.Code()[:2]) + " " + g.Code()[2:]); err != nil {
		t.Error(err)
	}
}

func TestTheSameMessageGetsTheSameAnswer(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	g, c := s.greeter(t), s.claimer(t)
	sent := s.upTo(t, 9, g, c)
	for step := 1; step <= 7; step++ {
		receive := g.Receive
		if step%2 == 0 {
			receive = c.Receive
		}
		reply, err := receive(sent[step])
		if err != nil {
			t.Fatal(err)
		}
		if !reply.None() {
			if diff := cmp.Diff(sent[step+1], reply); diff != "" {
				t.Errorf("step %d: %s", step, diff)
			}
		}
	}
	if w, ok := c.Welcome(); !ok || w.User != s.welcome().User {
		t.Error("the claimer lost its welcome")
	}
}

func TestTheLimitOfAttempts(t *testing.T) {
	for made := range enroll.MaxAttempts {
		if err := enroll.CheckAttempts(made); err != nil {
			t.Errorf("after %d attempts: %v", made, err)
		}
	}
	if err := enroll.CheckAttempts(enroll.MaxAttempts); !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}
