package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/device"
	"parsec/internal/client/enroll"
	"parsec/internal/client/session"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
	"parsec/internal/hostile"
)

// bootstrap founds an organization through the proxy.
func (s *scene) bootstrap(place session.Place, link string) (*session.Held, error) {
	l, err := invitation.ParseLink(link)
	s.ok(err)
	l.Server = s.proxy.URL
	return place.Bootstrap(s.Context(), l, session.Founder{Name: "Eve", Email: "eve@example.com", Label: "desk"}, clienttest.NewLock())
}

// phone is one end of a call between greeter and claimer.
type phone struct {
	say, hear chan string
	over      <-chan struct{} // the other side has ended
	mishear   func(string) string
}

func (p phone) Show(code string) error { p.say <- code; return nil }
func (phone) Tell(string)              {}

func (p phone) Ask(ctx context.Context) (string, error) {
	select {
	case code := <-p.hear:
		return p.mishear(code), nil
	case <-p.over:
		return "2222", nil // whatever a person types to be done with it
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// meeting is how an enrollment ended.
type meeting struct {
	greet, claim error
	place        session.Place
	held         *session.Held
	lock         device.Lock
}

// meet has Alice greet whoever claims an invitation.
func (s *scene) meet(inv session.Invitation, mishear func(string) string) *meeting {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	m := &meeting{place: clienttest.NewPlace(s), lock: clienttest.NewLock()}
	x, y := make(chan string, 1), make(chan string, 1)
	greeted, claimed := make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(greeted)
		m.greet = s.alice.Greet(ctx, inv.Token, phone{x, y, claimed, mishear})
	})
	both.Go(func() {
		defer close(claimed)
		m.held, m.claim = m.place.Claim(ctx, inv.Link, func(invitation.Statement) (session.Newcomer, error) {
			return session.Newcomer{Name: "Carol", Label: "laptop", Lock: m.lock}, nil
		}, phone{y, x, greeted, mishear})
	})
	both.Wait()
	if m.held != nil {
		s.Cleanup(func() { m.held.Abandon() })
	}
	return m
}

func rightly(code string) string { return code }

// invite has Alice invite Carol.
func (s *scene) invite() session.Invitation {
	s.Helper()
	inv, err := s.alice.InviteUser(s.Context(), "carol@example.com", record.ProfileStandard)
	s.ok(err)
	return inv
}

// burns expects that an attempt failed on both sides for fear of somebody in
// between, and that nothing came of it. The server is honest again.
func (s *scene) burns(inv session.Invitation, m *meeting) {
	s.Helper()
	s.breaks(enroll.PromiseAlone, m.greet)
	s.breaks(enroll.PromiseAlone, m.claim)
	s.nothing(m.place)
	if users := len(s.alice.Organization().Users()); users != 1 {
		s.Errorf("the organization has %d users, want 1", users)
	}
	s.proxy.Honest()
}

// enrolls expects that another attempt succeeds.
func (s *scene) enrolls(inv session.Invitation) {
	s.Helper()
	m := s.meet(inv, rightly)
	s.ok(errors.Join(m.greet, m.claim))
}

// nothing expects that a home holds no device and nothing of one.
func (s *scene) nothing(place session.Place) {
	s.Helper()
	for path := range s.local(place.Home) {
		if !strings.HasPrefix(path, "claims") {
			s.Errorf("the home holds %s", path)
		}
	}
}

// refusesToEnroll expects that a newcomer who is shown a false log joins
// nothing, and says which promise that breaks.
func (s *scene) refusesToEnroll(promise string) {
	s.Helper()
	inv, err := s.alice.InviteUser(s.Context(), "carol@example.com", record.ProfileStandard)
	s.ok(err)
	inv.Link.Server = s.proxy.URL
	m := s.meet(inv, rightly)
	s.breaks(promise, m.claim)
	s.nothing(m.place)
}

// carry is what a man in between does with the messages of a mailbox: he sees
// what each side left and says what the other finds.
func carry(p *hostile.Proxy, toGreeter, toClaimer func(step uint32, message []byte) []byte) {
	for procedure, change := range map[string]func(uint32, []byte) []byte{
		"InvitationService/Greet": toGreeter, "ClaimService/Claim": toClaimer,
	} {
		p.Lie(procedure, func(x *hostile.Exchange) {
			if x.Failed {
				return
			}
			step := x.Request.(*parsecv1.ExchangeRequest).GetStep()
			if m := x.Responses[0].(*parsecv1.ExchangeResponse); len(m.GetMessage()) > 0 {
				m.Message = change(step, m.GetMessage())
			}
		})
	}
}

func unchanged(_ uint32, message []byte) []byte { return message }

// between is somebody with keys of his own, who is claimer to the greeter and
// greeter to the claimer.
type between struct {
	t       *scene
	mu      sync.Mutex // guards the rest: both sides call
	greeter *enroll.Greeter
	claimer *enroll.Claimer
	said    map[uint32][]byte
}

func newBetween(s *scene, inv session.Invitation) *between {
	raw, err := s.alice.Server().ListInvitations(s.Context())
	s.ok(err)
	b := &between{t: s, said: map[uint32][]byte{}}
	o := s.alice.Organization()
	author, _ := o.Device(s.alice.Device().Device)
	b.greeter, err = enroll.NewGreeter(enroll.Greeting{
		Invitation: raw[0], Author: author.Verify, Organization: o.Fingerprint(), User: s.alice.Device().User, Now: time.Now(),
	})
	s.ok(err)
	b.claimer, err = enroll.NewClaimer(inv.Link, raw[0])
	s.ok(err)
	first, err := b.claimer.Start()
	s.ok(err)
	b.said[first.Step] = first.Data
	return b
}

// toGreeter takes what the claimer said, answers it himself, and says
// something of his own to the greeter.
func (b *between) toGreeter(step uint32, message []byte) []byte {
	return b.pass(b.greeter.Receive, step, message)
}

func (b *between) toClaimer(step uint32, message []byte) []byte {
	return b.pass(b.claimer.Receive, step, message)
}

func (b *between) pass(receive func(enroll.Message) (enroll.Message, error), step uint32, message []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer, err := receive(enroll.Message{Step: step, Data: message})
	if err == nil && !answer.None() {
		b.said[answer.Step] = answer.Data
	}
	return b.said[step]
}

func TestAttack09_ManInTheMiddleWithKeysOfHisOwn(t *testing.T) {
	s := newOffice(t)
	inv := s.invite()
	b := newBetween(s, inv)
	carry(s.proxy, b.toGreeter, b.toClaimer)
	s.burns(inv, s.meet(inv, rightly))
	s.enrolls(inv)
}

// attempts tries what may go wrong in an attempt at an enrollment. Each burns
// the attempt, and the last is an honest one.
func attempts(t *testing.T, lies ...variant[func(s *scene) (mishear func(string) string)]) {
	t.Helper()
	s := newOffice(t)
	for _, v := range lies {
		t.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			inv := in.invite()
			mishear := v.lie(&in)
			in.burns(inv, in.meet(inv, mishear))
			in.ok(s.alice.CancelInvitation(t.Context(), inv.Token))
		})
	}
	s.enrolls(s.invite())
}

// on changes the message of one step, whoever's it is.
func on(p *hostile.Proxy, at uint32, change func([]byte) []byte) {
	only := func(step uint32, message []byte) []byte {
		if step == at {
			return change(message)
		}
		return message
	}
	carry(p, only, only)
}

func TestAttack09_AlteredMessages(t *testing.T) {
	altered := func(step uint32) func(*scene) func(string) string {
		return func(s *scene) func(string) string {
			on(s.proxy, step, flipped)
			return rightly
		}
	}
	attempts(t, []variant[func(*scene) func(string) string]{
		{"the claimer's key", altered(1)},
		{"the greeter's secret", altered(2)},
		{"the claimer's commitment", altered(3)},
		{"the greeter's nonce", altered(4)},
		{"the claimer's nonce", altered(5)},
		{"the confirmation", altered(6)},
	}...)
}

// recording remembers all messages of an attempt at an invitation, which fails.
func (s *scene) recording(inv session.Invitation) map[uint32][]byte {
	s.Helper()
	old := map[uint32][]byte{}
	var mu sync.Mutex
	record := func(step uint32, message []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		old[step] = bytes.Clone(message)
		return message
	}
	carry(s.proxy, record, record)
	s.breaks(enroll.PromiseAlone, s.meet(inv, wrongly).greet)
	s.proxy.Honest()
	return old
}

func wrongly(string) string { return "2222" }

func TestAttack09_OldMessagesReplayed(t *testing.T) {
	s := newOffice(t)
	inv := s.invite()
	old := s.recording(inv)
	for _, v := range []variant[func(step uint32) bool]{
		{"a whole transcript", func(uint32) bool { return true }},
		{"an old commitment", func(step uint32) bool { return step == 3 }},
		{"an old nonce", func(step uint32) bool { return step == 4 }},
	} {
		t.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			replay := func(step uint32, message []byte) []byte {
				if m, ok := old[step]; ok && v.lie(step) {
					return m
				}
				return message
			}
			carry(s.proxy, replay, replay)
			in.burns(inv, in.meet(inv, rightly))
		})
	}
	s.enrolls(inv)
}

func TestAttack09_MixedUpMessages(t *testing.T) {
	attempts(t, []variant[func(*scene) func(string) string]{
		{"roles exchanged", func(s *scene) func(string) string {
			var mu sync.Mutex
			said := map[uint32][]byte{}
			carry(s.proxy, func(step uint32, message []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				said[step] = message
				return message
			}, func(uint32, []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				return said[1] // the claimer hears itself
			})
			return rightly
		}},
		{"an answer out of order", func(s *scene) func(string) string {
			var mu sync.Mutex
			var second []byte
			carry(s.proxy, unchanged, func(step uint32, message []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				switch step {
				case 2:
					second = message
				case 4:
					return second
				}
				return message
			})
			return rightly
		}},
		{"a guessed code", func(*scene) func(string) string { return wrongly }},
		{"another invitation for the claimer", func(s *scene) func(string) string {
			st := invitation.Statement{
				Organization: s.alice.Device().Organization, Type: invitation.ForUser, Author: s.alice.Device().Device,
				Email: "somebody@example.com", Profile: record.ProfileOutsider, Created: 1, Expires: time.Now().Add(time.Hour).UnixNano(),
			}
			s.proxy.Lie("ClaimService/GetInvitation", func(x *hostile.Exchange) {
				st.Token = id.Token(x.Request.(*parsecv1.GetInvitationRequest).GetToken())
				x.Responses[0].(*parsecv1.GetInvitationResponse).Invitation = invitation.Sign(st, device.New().Signing)
			})
			return rightly
		}},
	}...)
}

func TestAttack09_GivesUpAfterFiveAttempts(t *testing.T) {
	s := newOffice(t)
	inv := s.invite()
	for range enroll.MaxAttempts {
		s.breaks(enroll.PromiseAlone, s.meet(inv, wrongly).greet)
	}
	if err := s.alice.Greet(t.Context(), inv.Token, phone{}); !fault.Is(err, fault.Denied) {
		t.Errorf("a sixth attempt: got %v, want it denied", err)
	}
	if all, err := s.alice.Invitations(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the invitation is still open: %v, %v", all, err)
	}
}

// A claimer who is started over while the attempt goes on does not take it up:
// its message for the first step is a second, different one.
func TestAttack09_ClaimerStartedOver(t *testing.T) {
	s := newOffice(t)
	inv := s.invite()
	again := clienttest.NewPlace(t)
	var second error
	var once sync.Once
	m := s.meet(inv, func(code string) string {
		once.Do(func() {
			_, second = again.Claim(t.Context(), inv.Link, func(invitation.Statement) (session.Newcomer, error) {
				return session.Newcomer{Name: "Carol", Label: "laptop", Lock: clienttest.NewLock()}, nil
			}, phone{})
		})
		return code
	})
	s.breaks(enroll.PromiseAlone, second)
	s.nothing(again)
	s.burns(inv, m)
	s.enrolls(inv)
}

func TestAttack09_FalseInvitationsForTheGreeter(t *testing.T) {
	s := newOffice(t)
	inv := s.invite()
	mallory := device.New()
	for _, v := range []variant[func(*invitation.Statement)]{
		{"a user invitation as one for a device", func(st *invitation.Statement) {
			st.Type, st.Email, st.Profile, st.User = invitation.ForDevice, "", 0, s.alice.Device().User
		}},
		{"another e-mail address", func(st *invitation.Statement) { st.Email = "mallory@example.com" }},
		{"another profile", func(st *invitation.Statement) { st.Profile = record.ProfileAdmin }},
		{"another author", func(st *invitation.Statement) { st.Author = mallory.Device }},
	} {
		t.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			st := inv.Statement
			v.lie(&st)
			forged := invitation.Sign(st, mallory.Signing)
			lie(s.proxy, "InvitationService/List", func(m *parsecv1.ListInvitationsResponse) { m.Invitations = [][]byte{forged} })
			in.breaks(enroll.PromiseInvitation, s.alice.Greet(t.Context(), inv.Token, phone{}))
			s.proxy.Honest()
		})
	}
	s.enrolls(inv)
}

// The greeter says where the log stands behind the newcomer's own record. Any
// log from before, like one from before a revocation, does not reach it.
func TestAttack09_NewcomerIsShownALogFromBeforeARevocation(t *testing.T) {
	s := newScene(t)
	_, err := s.alice.RevokeUser(t.Context(), "bob@example.com")
	s.ok(err)
	before := s.position(2)
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
		m.Position, m.Records, m.Openings = before, m.Records[:2], nil
	})
	s.refusesToEnroll(session.PromiseNoRollback)
}

// A second device is told how far the first has verified each workspace.
func TestAttack09_NewDeviceIsShownAWorkspaceFromBefore(t *testing.T) {
	s := newScene(t)
	s.put("/notes.txt", "second draft")
	s.ok(s.read(first().and("/notes.txt", "second draft"))(s.bob))
	s.bob.ToServer(s.server.URL)
	phone := s.bob.EnrollDevice()
	phone.ToServer(s.proxy.URL)
	records := s.recordsOf(s.bob, s.workspace())
	eachRecord(s.proxy, func([][]byte) [][]byte { return records[:len(records)-1] })
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		at := headBehind(s, records[:len(records)-1])
		m.Records, m.Position = records[:len(records)-1], &parsecv1.Position{Index: at.Index, Head: at.Head[:]}
	})
	s.brokenContent(phone, session.PromiseNoRollback, s.read(first().and("/notes.txt", "second draft")))
}

// headBehind returns where the workspace's log stands behind records.
func headBehind(s *scene, records [][]byte) record.Position {
	s.Helper()
	at := record.WorkspaceLog(s.alice.Device().Organization, s.workspace()).Start()
	for _, raw := range records {
		r, err := record.Parse(raw)
		s.ok(err)
		at = at.Next(r.Digest)
	}
	return at
}

func TestAttack09_UserManifestFromBefore(t *testing.T) {
	s := newScene(t)
	s.bob.ToServer(s.server.URL)
	var old []byte
	old, err := s.bob.Server().GetUserManifest(t.Context())
	s.ok(err)
	s.alice.Share(s.alice.CreateWorkspace("second"), s.bob, record.RoleReader)
	s.bob.Sync()
	s.bob.Tree("second")
	s.bob.Reopen() // which tells the own devices
	s.bob.ToServer(s.proxy.URL)
	lie(s.proxy, "OrganizationService/GetUserManifest", func(m *parsecv1.GetUserManifestResponse) { m.Manifest = old })
	s.broken(s.bob, session.PromiseNoRollback, s.people)
}

func TestAttack09_UserManifestBySomebodyElse(t *testing.T) {
	s := newScene(t)
	raw, err := s.bob.Server().GetUserManifest(t.Context())
	s.ok(err)
	signed, err := usermanifest.Parse(raw)
	s.ok(err)
	signed.Version++
	signed.Author = s.alice.Device().Device
	forged := usermanifest.Sign(signed.Envelope, s.alice.Device().Organization, s.alice.Device().Signing)
	lie(s.proxy, "OrganizationService/GetUserManifest", func(m *parsecv1.GetUserManifestResponse) { m.Manifest = forged })
	s.broken(s.bob, session.PromiseManifest, s.people)
}
