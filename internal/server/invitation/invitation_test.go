package invitation_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	statement "parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/server/invitation"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
	"parsec/internal/server/servertest"
	"parsec/internal/verify/verifytest"
)

// forUser returns an invitation of a person.
func forUser(s *servertest.Stage, by *verifytest.Device, edits ...func(*statement.Statement)) statement.Statement {
	i := statement.Statement{
		Organization: s.Fingerprint(), Token: id.New[id.Token](), Type: statement.ForUser,
		Email: "new@example.com", Profile: record.ProfileStandard, Author: by.ID,
		Created: s.Now().UnixNano(), Expires: s.Now().Add(time.Hour).UnixNano(),
	}
	for _, edit := range edits {
		edit(&i)
	}
	return i
}

// forDevice returns an invitation of another device of the inviter.
func forDevice(s *servertest.Stage, by *verifytest.Device, edits ...func(*statement.Statement)) statement.Statement {
	return forUser(s, by, append([]func(*statement.Statement){func(i *statement.Statement) {
		i.Type, i.Email, i.Profile, i.User = statement.ForDevice, "", 0, by.User
	}}, edits...)...)
}

func create(t *testing.T, s *servertest.Stage, by *verifytest.Device, i statement.Statement) id.Token {
	t.Helper()
	if err := s.Invitations.Create(t.Context(), s.Caller(by), statement.Sign(i, by.Signing)); err != nil {
		t.Fatal(err)
	}
	return i.Token
}

func TestOnlyWhoMayInvitesAndOnlyAsTheyMay(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	stranger := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	used := forUser(s, s.Admin)
	create(t, s, s.Admin, used)
	for _, c := range []struct {
		name string
		by   *verifytest.Device
		key  ed25519.PrivateKey
		i    statement.Statement
		want fault.Kind
	}{
		{"a user invited by a user", bob, bob.Signing, forUser(s, bob), fault.Denied},
		{"a device for somebody else", bob, bob.Signing, forDevice(s, bob, func(i *statement.Statement) { i.User = s.Admin.User }), fault.Denied},
		{"a signature of somebody else", bob, stranger, forDevice(s, bob), fault.Denied},
		{"a statement of another device", s.Admin, bob.Signing, forDevice(s, bob), fault.Denied},
		{"another organization", bob, bob.Signing, forDevice(s, bob, func(i *statement.Statement) { i.Organization[0]++ }), fault.Denied},
		{"an expired one", bob, bob.Signing, forDevice(s, bob, func(i *statement.Statement) { i.Created, i.Expires = 1, 2 }), fault.Invalid},
		{"one for ever", bob, bob.Signing, forDevice(s, bob, func(i *statement.Statement) { i.Expires = 1 << 62 }), fault.Invalid},
		{"an e-mail address in use", s.Admin, s.Admin.Signing, forUser(s, s.Admin, func(i *statement.Statement) { i.Email = bob.Opening.Email }), fault.Conflict},
		{"a token in use", s.Admin, s.Admin.Signing, forUser(s, s.Admin, func(i *statement.Statement) { i.Token = used.Token }), fault.Conflict},
	} {
		err := s.Invitations.Create(t.Context(), s.Caller(c.by), statement.Sign(c.i, c.key))
		servertest.Kind(t, c.name, err, c.want)
	}
	servertest.Kind(t, "noise", s.Invitations.Create(t.Context(), s.Caller(bob), []byte("noise")), fault.Invalid)
	create(t, s, s.Admin, used) // the same again
	create(t, s, bob, forDevice(s, bob))
}

func TestOpenInvitationsAreListedUntilTheyEnd(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	kept, cancelled := forDevice(s, bob), forDevice(s, bob)
	short := forDevice(s, bob, func(i *statement.Statement) { i.Expires = s.Now().Add(time.Minute).UnixNano() })
	for _, i := range []statement.Statement{kept, cancelled, short} {
		create(t, s, bob, i)
	}
	eve := s.AddUser(record.ProfileStandard)
	servertest.Kind(t, "cancelled by somebody else", s.Invitations.Cancel(t.Context(), s.Caller(eve), cancelled.Token), fault.NotFound)
	for _, by := range []*verifytest.Device{bob, bob, s.Admin} {
		if err := s.Invitations.Cancel(t.Context(), s.Caller(by), cancelled.Token); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Kind(t, "an unknown one", s.Invitations.Cancel(t.Context(), s.Caller(bob), id.New[id.Token]()), fault.NotFound)
	s.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	got, err := s.Invitations.List(t.Context(), s.Caller(bob))
	if want := [][]byte{statement.Sign(kept, bob.Signing)}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %d invitations, %v; want the one kept", len(got), err)
	}
	raw, inviter, err := s.Invitations.Get(t.Context(), s.Fingerprint(), kept.Token)
	if err != nil || !cmp.Equal(raw, statement.Sign(kept, bob.Signing)) || !cmp.Equal(inviter, canon.Marshal(bob.Opening)) {
		t.Errorf("got %d and %d bytes, %v", len(raw), len(inviter), err)
	}
	for name, token := range map[string]id.Token{"a cancelled one": cancelled.Token, "an expired one": short.Token, "an unknown one": id.New[id.Token]()} {
		_, _, err := s.Invitations.Get(t.Context(), s.Fingerprint(), token)
		servertest.Kind(t, name, err, fault.NotFound)
	}
	_, _, err = s.Invitations.Get(t.Context(), id.Fingerprint{1}, kept.Token)
	servertest.Kind(t, "one of another organization", err, fault.NotFound)
	s.RevokeUser(bob)
	_, _, err = s.Invitations.Get(t.Context(), s.Fingerprint(), kept.Token)
	servertest.Kind(t, "one of a revoked user", err, fault.NotFound)
}

func TestAnInvitationIsUsedOnce(t *testing.T) {
	s := servertest.NewStage(t)
	token := create(t, s, s.Admin, forUser(s, s.Admin))
	join := func(email string, p record.Profile) error {
		n, d := s.NewUser([32]byte(s.Fingerprint()))
		d.Opening.Email = email
		n.Identity = d.Opening.Commit([32]byte(s.Fingerprint()))
		raw := s.Sign(s.Admin, record.UserAdded{New: n, Profile: p})
		_, err := s.Organizations.Append(t.Context(), s.Caller(s.Admin), organization.Addition{
			Record: raw, Opening: canon.Marshal(d.Opening), Invitation: token,
		})
		if err == nil {
			s.Must(raw)
		}
		return err
	}
	servertest.Kind(t, "another e-mail address", join("other@example.com", record.ProfileStandard), fault.Invalid)
	servertest.Kind(t, "another profile", join("new@example.com", record.ProfileAdmin), fault.Invalid)
	if err := join("new@example.com", record.ProfileStandard); err != nil {
		t.Fatal(err)
	}
	servertest.Kind(t, "a second time", join("more@example.com", record.ProfileStandard), fault.NotFound)
	_, _, err := s.Invitations.Get(t.Context(), s.Fingerprint(), token)
	servertest.Kind(t, "what is left of it", err, fault.NotFound)
	servertest.Kind(t, "cancelling it", s.Invitations.Cancel(t.Context(), s.Caller(s.Admin), token), fault.NotFound)
}

// desk is both sides of an enrollment.
type desk struct {
	t     *testing.T
	s     *servertest.Stage
	token id.Token
}

func newDesk(t *testing.T) desk {
	s := servertest.NewStage(t)
	return desk{t, s, create(t, s, s.Admin, forUser(s, s.Admin))}
}

func (d desk) greet(a meta.Attempt, step uint32, message string) (invitation.Reply, error) {
	return d.s.Invitations.Greet(d.t.Context(), d.s.Caller(d.s.Admin), invitation.Turn{
		Token: d.token, Attempt: a, Step: step, Message: []byte(message),
	}, 0)
}

func (d desk) claim(a meta.Attempt, step uint32, message string) (invitation.Reply, error) {
	return d.s.Invitations.Claim(d.t.Context(), d.s.Fingerprint(), invitation.Turn{
		Token: d.token, Attempt: a, Step: step, Message: []byte(message),
	}, 0)
}

// must returns what a turn answered.
func (d desk) must(r invitation.Reply, err error) invitation.Reply {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func TestBothSidesSpeakThroughTheMailbox(t *testing.T) {
	d := newDesk(t)
	a := meta.Attempt{1}
	if got := d.must(d.claim(meta.Attempt{}, 1, "")); got.Attempt != (meta.Attempt{}) {
		t.Errorf("an attempt %v before there is any", got.Attempt)
	}
	_, err := d.claim(meta.Attempt{}, 1, "too early")
	servertest.Kind(t, "a message before there is an attempt", err, fault.NotFound)
	_, err = d.claim(a, 1, "")
	servertest.Kind(t, "an attempt that only the greeter may open", err, fault.NotFound)
	d.must(d.greet(a, 1, ""))
	if got := d.must(d.claim(meta.Attempt{}, 1, "")); got.Attempt != a {
		t.Errorf("got attempt %v, want %v", got.Attempt, a)
	}
	for step, want := range []string{"one", "two", "three", "four"} {
		leave, read := d.claim, d.greet
		if step%2 == 1 {
			leave, read = d.greet, d.claim
		}
		if got := d.must(read(a, uint32(step), "")); len(got.Message) != 0 {
			t.Errorf("step %d: %q before it was left", step, got.Message)
		}
		d.must(leave(a, uint32(step), want))
		d.must(leave(a, uint32(step), want)) // its answer was lost
		for range 2 {
			if got := d.must(read(a, uint32(step), "")); string(got.Message) != want {
				t.Errorf("step %d: got %q, want %q", step, got.Message, want)
			}
		}
	}
}

func TestWhoWaitsIsWokenByTheOtherSide(t *testing.T) {
	d := newDesk(t)
	a := meta.Attempt{1}
	d.must(d.greet(a, 0, ""))
	got := make(chan invitation.Reply)
	go func() {
		r, err := d.s.Invitations.Greet(d.t.Context(), d.s.Caller(d.s.Admin), invitation.Turn{Token: d.token, Attempt: a, Step: 1}, time.Hour)
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	d.must(d.claim(a, 1, "hello"))
	if r := <-got; string(r.Message) != "hello" {
		t.Errorf("got %q", r.Message)
	}
}

func TestASecondMessageForAStepEndsTheAttemptForBoth(t *testing.T) {
	d := newDesk(t)
	a := meta.Attempt{1}
	d.must(d.greet(a, 1, ""))
	d.must(d.claim(a, 1, "the claimer's"))
	_, err := d.claim(a, 1, "somebody else's")
	servertest.Kind(t, "the second message", err, fault.Conflict)
	_, err = d.claim(a, 2, "")
	servertest.Kind(t, "the claimer afterwards", err, fault.Conflict)
	_, err = d.greet(a, 1, "")
	servertest.Kind(t, "the greeter afterwards", err, fault.Conflict)
	if got := d.must(d.claim(meta.Attempt{}, 1, "")); got.Attempt != (meta.Attempt{}) {
		t.Errorf("the ended attempt %v is the newest", got.Attempt)
	}
}

func TestEitherSideEndsAnAttempt(t *testing.T) {
	d := newDesk(t)
	abort := func(a meta.Attempt, greeter bool) error {
		turn := invitation.Turn{Token: d.token, Attempt: a, Abort: true}
		var err error
		if greeter {
			_, err = d.s.Invitations.Greet(t.Context(), d.s.Caller(d.s.Admin), turn, 0)
		} else {
			_, err = d.s.Invitations.Claim(t.Context(), d.s.Fingerprint(), turn, 0)
		}
		return err
	}
	for i, greeter := range []bool{true, false} {
		a := meta.Attempt{byte(i + 1)}
		d.must(d.greet(a, 1, ""))
		for range 2 {
			if err := abort(a, greeter); err != nil {
				t.Fatal(err)
			}
		}
		_, err := d.claim(a, 1, "")
		servertest.Kind(t, "the claimer", err, fault.Conflict)
		_, err = d.greet(a, 1, "")
		servertest.Kind(t, "the greeter", err, fault.Conflict)
	}
	first, second := meta.Attempt{10}, meta.Attempt{11}
	d.must(d.greet(first, 1, ""))
	d.must(d.greet(second, 1, ""))
	_, err := d.claim(first, 1, "")
	servertest.Kind(t, "an attempt after which another began", err, fault.Conflict)
}

func TestTheMailboxIsBounded(t *testing.T) {
	d := newDesk(t)
	d.must(d.greet(meta.Attempt{0: 1}, 1, ""))
	_, err := d.claim(meta.Attempt{1}, 1, string(make([]byte, invitation.MaxMessage+1)))
	servertest.Kind(t, "a message that is too long", err, fault.TooLarge)
	_, err = d.claim(meta.Attempt{1}, 1000, "x")
	servertest.Kind(t, "a step that is too high", err, fault.TooLarge)
	_, err = d.greet(meta.Attempt{}, 1, "")
	servertest.Kind(t, "a greeter without an attempt", err, fault.Invalid)
	bob := d.s.AddUser(record.ProfileStandard)
	_, err = d.s.Invitations.Greet(t.Context(), d.s.Caller(bob), invitation.Turn{Token: d.token, Attempt: meta.Attempt{9}}, 0)
	servertest.Kind(t, "a greeter who may not", err, fault.NotFound)
	for i := range 100 {
		if _, err = d.greet(meta.Attempt{1: byte(i + 1)}, 1, ""); err != nil {
			break
		}
	}
	servertest.Kind(t, "attempts without end", err, fault.Full)
}

func TestAnExchangeOutlivesItsInvitationAndNoneBeginsThen(t *testing.T) {
	d := newDesk(t)
	a := meta.Attempt{1}
	d.must(d.greet(a, 1, ""))
	d.s.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } // expired
	d.must(d.claim(a, 1, "still"))
	_, err := d.greet(meta.Attempt{2}, 1, "")
	servertest.Kind(t, "a new attempt", err, fault.NotFound)
	d.s.Now = time.Now
	if err := d.s.Invitations.Cancel(t.Context(), d.s.Caller(d.s.Admin), d.token); err != nil {
		t.Fatal(err)
	}
	_, err = d.claim(a, 2, "")
	servertest.Kind(t, "a cancelled invitation", err, fault.NotFound)
}
