package organization_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/format/request"
	"parsec/internal/format/usermanifest"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/organization"
	"parsec/internal/server/servertest"
	"parsec/internal/verify/verifytest"
)

func TestABootstrapLinkWorksOnce(t *testing.T) {
	s := servertest.NewStage(t)
	k := verifytest.NewWith(t, verifytest.Config{Name: "Other"})
	other := verifytest.NewWith(t, verifytest.Config{Name: "Other"})
	opening := canon.Marshal(k.Admin.Opening)
	token, err := s.Organizations.Create(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		token   id.Token
		record  []byte
		opening []byte
		want    fault.Kind
	}{
		{"a token that opens nothing", id.New[id.Token](), k.Records[0], opening, fault.NotFound},
		{"an organization of another name", token, s.Records[0], opening, fault.Invalid},
		{"an opening of somebody else", token, k.Records[0], canon.Marshal(other.Admin.Opening), fault.Invalid},
		{"no opening", token, k.Records[0], nil, fault.Invalid},
		{"a record that is no genesis", token, k.Sign(k.Admin, record.UserRevoked{User: id.New[id.User]()}), opening, fault.Invalid},
	} {
		_, err := s.Organizations.Bootstrap(t.Context(), c.token, c.record, c.opening)
		servertest.Kind(t, c.name, err, c.want)
	}
	for _, when := range []string{"at first", "again, because the answer was lost"} {
		p, err := s.Organizations.Bootstrap(t.Context(), token, k.Records[0], opening)
		if err != nil || p != k.Org.Position() {
			t.Fatalf("%s: got %v, %v; want %v", when, p, err, k.Org.Position())
		}
	}
	_, err = s.Organizations.Bootstrap(t.Context(), token, other.Records[0], canon.Marshal(other.Admin.Opening))
	servertest.Kind(t, "somebody else's genesis with a used link", err, fault.NotFound)
}

func TestTheLogIsServedAsItWasAppended(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	eve := s.AddUser(record.ProfileOutsider)
	s.AddDevice(bob)
	s.RevokeUser(eve)
	s.Restart()
	got := pull(t, s, bob, 0)
	if diff := cmp.Diff(s.Records, got.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	want := [][]byte{canon.Marshal(s.Admin.Opening), canon.Marshal(bob.Opening), canon.Marshal(eve.Opening)}
	if diff := cmp.Diff(want, got.Openings); diff != "" {
		t.Errorf("openings (-want +got):\n%s", diff)
	}
	if got.Position != s.Org.Position() {
		t.Errorf("position %v, want %v", got.Position, s.Org.Position())
	}
	if got := pull(t, s, bob, s.Org.Position().Index); len(got.Records) != 0 || got.Position != s.Org.Position() {
		t.Errorf("at the end: %d records, position %v", len(got.Records), got.Position)
	}
}

func TestAnOutsiderGetsNoOpenings(t *testing.T) {
	s := servertest.NewStage(t)
	eve := s.AddUser(record.ProfileOutsider)
	if got := pull(t, s, eve, 0); len(got.Openings) != 0 || len(got.Records) != 2 {
		t.Errorf("got %d openings and %d records, want 0 and 2", len(got.Openings), len(got.Records))
	}
}

func pull(t *testing.T, s *servertest.Stage, d *verifytest.Device, since uint64) organization.Page {
	t.Helper()
	var all organization.Page
	err := s.Organizations.Pull(t.Context(), s.Caller(d), since, func(p organization.Page) error {
		all.Position = p.Position
		all.Records = append(all.Records, p.Records...)
		all.Openings = append(all.Openings, p.Openings...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestARecordWhoseAnswerWasLostIsAnsweredAgain(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	want, lost := s.Org.Position(), s.Newest(&bob.Opening)
	s.AddUser(record.ProfileStandard)
	s.Now = func() time.Time { return time.Now().Add(time.Hour) } // much later
	got, err := s.Organizations.Append(t.Context(), s.Caller(s.Admin), lost)
	if err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestAStaleRecordIsRefusedWithWhatItHadNotSeen(t *testing.T) {
	s := servertest.NewStage(t)
	seen := len(s.Records)
	n, late := s.NewUser([32]byte(s.Fingerprint()))
	raw := s.Sign(s.Admin, record.UserAdded{New: n, Profile: record.ProfileStandard})
	s.AddUser(record.ProfileStandard)
	s.AddUser(record.ProfileStandard)
	_, err := s.Organizations.Append(t.Context(), s.Caller(s.Admin), organization.Addition{Record: raw, Opening: canon.Marshal(late.Opening)})
	servertest.Kind(t, "a record for a place that is taken", err, fault.Stale)
	var stale *call.Stale
	if !errors.As(err, &stale) {
		t.Fatalf("got %T, want %T", err, stale)
	}
	if diff := cmp.Diff(s.Records[seen:], stale.Records); diff != "" || stale.Position != s.Org.Position() {
		t.Errorf("position %v; records (-want +got):\n%s", stale.Position, diff)
	}
}

func TestWhatMayNotBeAppendedIsRefusedByKind(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	carol := s.AddUser(record.ProfileAdmin)
	set := func(settings organization.Settings) func() {
		return func() {
			if _, err := s.Organizations.Set(t.Context(), s.Org.Name(), settings); err != nil {
				t.Fatal(err)
			}
		}
	}
	no, two, none := false, uint64(2), uint64(0)
	added := func(by *verifytest.Device, p record.Profile, edit func(*record.Opening), edits ...func(*record.Body)) organization.Addition {
		n, d := s.NewUser([32]byte(s.Fingerprint()))
		if edit != nil {
			edit(&d.Opening)
			n.Identity = d.Opening.Commit([32]byte(s.Fingerprint()))
		}
		return organization.Addition{Record: s.Sign(by, record.UserAdded{New: n, Profile: p}, edits...), Opening: canon.Marshal(d.Opening)}
	}
	later := func(d time.Duration) func(*record.Body) {
		return func(b *record.Body) { b.Time += int64(d) }
	}
	for _, c := range []struct {
		name    string
		by      *verifytest.Device
		add     func() organization.Addition
		prepare func()
		want    fault.Kind
	}{
		{"a user added by nobody special", bob, func() organization.Addition { return added(bob, record.ProfileStandard, nil) }, nil, fault.Denied},
		{"a record that another device signed", bob, func() organization.Addition { return added(s.Admin, record.ProfileStandard, nil) }, nil, fault.Denied},
		{"an e-mail address in use", s.Admin, func() organization.Addition {
			return added(s.Admin, record.ProfileStandard, func(o *record.Opening) { o.Email = bob.Opening.Email })
		}, nil, fault.Conflict},
		{"no e-mail address", s.Admin, func() organization.Addition {
			return added(s.Admin, record.ProfileStandard, func(o *record.Opening) { o.Email = "nobody" })
		}, nil, fault.Invalid},
		{"an opening that the record does not commit to", s.Admin, func() organization.Addition {
			a := added(s.Admin, record.ProfileStandard, nil)
			a.Opening = canon.Marshal(bob.Opening)
			return a
		}, nil, fault.Invalid},
		{"an opening beside a record that needs none", s.Admin, func() organization.Addition {
			return organization.Addition{Record: s.Sign(s.Admin, record.UserRevoked{User: bob.User}), Opening: canon.Marshal(bob.Opening)}
		}, nil, fault.Invalid},
		{"a time six minutes ahead", s.Admin, func() organization.Addition {
			return added(s.Admin, record.ProfileStandard, nil, later(6*time.Minute))
		}, nil, fault.Clock},
		{"an invitation that does not exist", s.Admin, func() organization.Addition {
			a := added(s.Admin, record.ProfileStandard, nil)
			a.Invitation = id.New[id.Token]()
			return a
		}, nil, fault.NotFound},
		{"a workspace's record", s.Admin, func() organization.Addition {
			w := s.Kit.NewWorkspace()
			return organization.Addition{Record: w.Sign(s.Admin, w.Created(s.Admin))}
		}, nil, fault.Invalid},
		{"noise", s.Admin, func() organization.Addition { return organization.Addition{Record: []byte("noise")} }, nil, fault.Invalid},
		{"a replaced key without its deliveries", carol, func() organization.Addition {
			return organization.Addition{Record: s.Sign(carol, record.UserKeyReplaced{Replacement: s.Replacement(carol)})}
		}, nil, fault.Invalid},
		{"a replaced key with another delivery", carol, func() organization.Addition {
			return organization.Addition{
				Record:     s.Sign(carol, record.UserKeyReplaced{Replacement: s.Replacement(carol)}),
				Deliveries: []organization.Delivery{{Device: carol.ID, Sealed: []byte("another")}},
			}
		}, nil, fault.Invalid},
		{"an outsider where there may be none", s.Admin, func() organization.Addition {
			return added(s.Admin, record.ProfileOutsider, nil)
		}, set(organization.Settings{Outsiders: &no}), fault.Denied},
		{"an outsider by a change of profile", s.Admin, func() organization.Addition {
			return organization.Addition{Record: s.Sign(s.Admin, record.ProfileChanged{User: bob.User, Profile: record.ProfileOutsider})}
		}, nil, fault.Denied},
		{"a user beyond the limit", s.Admin, func() organization.Addition {
			return added(s.Admin, record.ProfileStandard, nil)
		}, set(organization.Settings{ActiveUsers: &two}), fault.Full},
	} {
		if c.prepare != nil {
			c.prepare()
		}
		_, err := s.Organizations.Append(t.Context(), s.Caller(c.by), c.add())
		servertest.Kind(t, c.name, err, c.want)
	}
	set(organization.Settings{ActiveUsers: &none})()
	s.AddUser(record.ProfileStandard) // and nothing was left behind by any of them
	yes := true
	set(organization.Settings{Expired: &yes})()
	_, err := s.Organizations.Append(t.Context(), s.Caller(s.Admin), added(s.Admin, record.ProfileStandard, nil))
	servertest.Kind(t, "anything in a suspended organization", err, fault.Frozen)
}

func TestARevokedAddressIsFree(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	s.RevokeUser(bob)
	n, again := s.NewUser([32]byte(s.Fingerprint()))
	again.Opening.Email = bob.Opening.Email
	n.Identity = again.Opening.Commit([32]byte(s.Fingerprint()))
	s.Append(s.Admin, record.UserAdded{New: n, Profile: record.ProfileStandard})
	s.Bring(s.Admin, &again.Opening)
	people, err := s.Organizations.People(t.Context(), s.Org.Name())
	if err != nil {
		t.Fatal(err)
	}
	got := map[id.User]bool{}
	for _, p := range people {
		if p.Email == bob.Opening.Email {
			got[p.ID] = p.Revoked == 0
		}
	}
	if diff := cmp.Diff(map[id.User]bool{bob.User: false, again.User: true}, got); diff != "" {
		t.Errorf("active (-want +got):\n%s", diff)
	}
}

func TestARequestTokenIsGoodForOneRequestOfADeviceInUse(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	laptop := s.AddDevice(bob)
	eve := s.AddUser(record.ProfileStandard)
	s.RevokeUser(eve)
	s.Kit.RevokeDevice(bob, laptop)
	s.Bring(bob, nil)
	what := request.What{Method: "POST", Path: "/a?b", Body: [32]byte{1}}
	token := func(f id.Fingerprint, d *verifytest.Device, at time.Time) request.Token {
		token, err := request.Parse(request.Sign(f, d.ID, at, what, d.Signing))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	now, f := time.Now(), s.Fingerprint()
	stranger := s.NewDevice(bob)
	forged := token(f, stranger, now)
	forged.Device = bob.ID
	for _, c := range []struct {
		name  string
		token request.Token
		what  request.What
		want  fault.Kind
	}{
		{"another method", token(f, bob, now), request.What{Method: "GET", Path: what.Path, Body: what.Body}, fault.Unauthenticated},
		{"another path", token(f, bob, now), request.What{Method: "POST", Path: "/a?c", Body: what.Body}, fault.Unauthenticated},
		{"another body", token(f, bob, now), request.What{Method: "POST", Path: what.Path}, fault.Unauthenticated},
		{"six minutes old", token(f, bob, now.Add(-6*time.Minute)), what, fault.Clock},
		{"six minutes ahead", token(f, bob, now.Add(6*time.Minute)), what, fault.Clock},
		{"another organization", token(id.Fingerprint{1}, bob, now), what, fault.NotFound},
		{"an unknown device", token(f, stranger, now), what, fault.Unauthenticated},
		{"another key", forged, what, fault.Unauthenticated},
		{"a revoked device", token(f, laptop, now), what, fault.Unauthenticated},
		{"a device of a revoked user", token(f, eve, now), what, fault.Unauthenticated},
	} {
		_, err := s.Organizations.Authenticate(t.Context(), c.token, c.what)
		servertest.Kind(t, c.name, err, c.want)
	}
	got, err := s.Organizations.Authenticate(t.Context(), token(f, bob, now.Add(-4*time.Minute)), what)
	if err != nil || got != s.Caller(bob) {
		t.Errorf("got %v, %v; want %v", got, err, s.Caller(bob))
	}
}

func TestAReplacedKeyIsDeliveredToEachDevice(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	laptop, lost := s.AddDevice(bob), s.AddDevice(bob)
	s.RevokeAndReplace(bob, lost)
	s.Bring(bob, nil)
	user, _ := s.Org.User(bob.User)
	for _, d := range []*verifytest.Device{bob, laptop} {
		sealed, err := s.Organizations.KeyDelivery(t.Context(), s.Caller(d), user.Key().Digest())
		if err != nil || len(sealed) == 0 {
			t.Errorf("got %d bytes, %v", len(sealed), err)
		}
	}
	_, err := s.Organizations.KeyDelivery(t.Context(), s.Caller(bob), record.Digest{1})
	servertest.Kind(t, "a key that was never delivered", err, fault.NotFound)
	_, err = s.Organizations.KeyDelivery(t.Context(), s.Caller(lost), user.Key().Digest())
	servertest.Kind(t, "a revoked device", err, fault.Unauthenticated)
}

func TestUserManifestsFollowEachOther(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	laptop := s.AddDevice(bob)
	user, _ := s.Org.User(bob.User)
	sign := func(by *verifytest.Device, version uint64, previous []byte, edits ...func(*usermanifest.Envelope)) []byte {
		e := usermanifest.Envelope{
			User: bob.User, Author: by.ID, Version: version,
			Organization: s.Org.Position(), Key: user.Key().Digest(), Sealed: []byte("sealed"),
		}
		if previous != nil {
			e.Previous = sha256.Sum256(previous)
		}
		for _, edit := range edits {
			edit(&e)
		}
		return usermanifest.Sign(e, s.Fingerprint(), by.Signing)
	}
	_, err := s.Organizations.UserManifest(t.Context(), s.Caller(bob))
	servertest.Kind(t, "before the first", err, fault.NotFound)
	first := sign(bob, 1, nil)
	second := sign(laptop, 2, first)
	for _, put := range []struct {
		by  *verifytest.Device
		raw []byte
	}{{bob, first}, {bob, first}, {laptop, second}, {laptop, second}} {
		if err := s.Organizations.PutUserManifest(t.Context(), s.Caller(put.by), put.raw); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Organizations.UserManifest(t.Context(), s.Caller(bob))
	if err != nil || !bytes.Equal(got, second) {
		t.Errorf("got %x, %v; want %x", got, err, second)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want fault.Kind
	}{
		{"a version that another device was first with", sign(bob, 2, first), fault.Stale},
		{"a version that leaves one out", sign(bob, 4, second), fault.Stale},
		{"another predecessor", sign(bob, 3, first), fault.Stale},
		{"another key", sign(bob, 3, second, func(e *usermanifest.Envelope) { e.Key = record.Digest{} }), fault.Stale},
		{"another author", sign(laptop, 3, second), fault.Denied},
		{"another user", sign(bob, 3, second, func(e *usermanifest.Envelope) { e.User = s.Admin.User }), fault.Denied},
		{"another organization log", sign(bob, 3, second, func(e *usermanifest.Envelope) { e.Organization.Head[0]++ }), fault.Invalid},
		{"noise", []byte("noise"), fault.Invalid},
	} {
		servertest.Kind(t, c.name, s.Organizations.PutUserManifest(t.Context(), s.Caller(bob), c.raw), c.want)
	}
}

func TestSubscribersHearOfEachRecord(t *testing.T) {
	s := servertest.NewStage(t)
	sub := s.Hub.Subscribe()
	defer sub.Close()
	topic := events.Topic{Organization: s.Fingerprint(), Kind: events.Organization}
	sub.Watch(topic)
	s.AddUser(record.ProfileStandard)
	got, err := sub.Next(t.Context())
	if want := []events.Hint{{Topic: topic, Index: 2}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
