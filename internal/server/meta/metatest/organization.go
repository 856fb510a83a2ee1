package metatest

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

func organizations(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"an organization is found as it was created":     organizationIsFound,
		"an update replaces the whole row":               organizationIsUpdated,
		"a name and a fingerprint are taken once":        organizationIsUnique,
		"organizations are listed by name, page by page": organizationsAreListed,
		"one that is not there is not found":             organizationIsMissing,
	})
}

func acme() meta.Organization {
	return meta.Organization{
		Name: "Acme", Bootstrap: sha256.Sum256([]byte("token")), Created: 12345,
		Limits: meta.Limits{ActiveUsers: 3, Storage: 1 << 40, Outsiders: true},
	}
}

func organizationIsFound(t *testing.T, s *store) {
	want := acme()
	s.write(t, func(tx meta.Tx) (err error) {
		want.Key, err = tx.Organizations().Create(want)
		return err
	})
	if want.Key == 0 {
		t.Error("the key is 0")
	}
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Organizations().ByName("Acme")
		same(t, "by name", got, want)
		return err
	})
	s.write(t, func(tx meta.Tx) error {
		for _, how := range []meta.Lock{meta.Shared, meta.Exclusive} {
			got, err := tx.Organizations().Lock(want.Key, how)
			if err != nil {
				return err
			}
			same(t, "locked", got, want)
		}
		return nil
	})
	same(t, "stats", s.stats(t, want.Key), meta.Stats{})
}

func organizationIsUpdated(t *testing.T, s *store) {
	o := acme()
	s.write(t, func(tx meta.Tx) (err error) {
		o.Key, err = tx.Organizations().Create(o)
		if err != nil {
			return err
		}
		return tx.Users().Add(o.Key, meta.User{ID: id.New[id.User](), Email: "a@acme"})
	})
	want := meta.Organization{
		Key: o.Key, Name: "Acme 2", Bootstrap: [32]byte{1}, Fingerprint: id.Fingerprint{2}, Root: bytes.Repeat([]byte{3}, 32),
		Position: record.Position{Index: 4, Head: record.Head{5}}, Created: 6, Expired: true, Limits: meta.Limits{Storage: 7},
	}
	s.write(t, func(tx meta.Tx) error {
		if _, err := tx.Organizations().Lock(o.Key, meta.Exclusive); err != nil {
			return err
		}
		return tx.Organizations().Update(want)
	})
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Organizations().ByFingerprint(want.Fingerprint)
		same(t, "by fingerprint", got, want)
		return err
	})
	s.missing(t, find("Acme"))
	same(t, "stats", s.stats(t, o.Key), meta.Stats{Users: 1, ActiveUsers: 1})
}

func organizationIsUnique(t *testing.T, s *store) {
	first := s.newOrganization(t, "First")
	second := s.newOrganization(t, "Second") // neither has a fingerprint
	s.fails(t, fault.Conflict, create("First"))
	s.write(t, func(tx meta.Tx) error {
		return tx.Organizations().Update(meta.Organization{Key: first, Name: "First", Fingerprint: id.Fingerprint{1}})
	})
	for _, o := range []meta.Organization{
		{Key: second, Name: "First"},
		{Key: second, Name: "Second", Fingerprint: id.Fingerprint{1}},
	} {
		s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Organizations().Update(o) })
	}
	s.fails(t, fault.Conflict, func(tx meta.Tx) error {
		_, err := tx.Organizations().Create(meta.Organization{Name: "Third", Fingerprint: id.Fingerprint{1}})
		return err
	})
}

func organizationsAreListed(t *testing.T, s *store) {
	for _, name := range []string{"b", "a", "Z", "é", "ab"} {
		s.newOrganization(t, name)
	}
	var got []string
	s.read(t, func(tx meta.Tx) error {
		after := ""
		for {
			page, err := tx.Organizations().List(after, 2)
			if err != nil || len(page) == 0 {
				return err
			}
			if len(page) > 2 {
				t.Errorf("a page of %d", len(page))
			}
			for _, o := range page {
				got = append(got, o.Name)
				after = o.Name
			}
		}
	})
	same(t, "names", got, []string{"Z", "a", "ab", "b", "é"})
}

func organizationIsMissing(t *testing.T, s *store) {
	s.newOrganization(t, "Acme")
	for _, ask := range []func(meta.Organizations) error{
		func(o meta.Organizations) error { _, err := o.ByName("acme"); return err },
		func(o meta.Organizations) error { _, err := o.ByFingerprint(id.Fingerprint{1}); return err },
		func(o meta.Organizations) error { _, err := o.ByFingerprint(id.Fingerprint{}); return err },
		func(o meta.Organizations) error { _, err := o.Lock(99, meta.Shared); return err },
		func(o meta.Organizations) error { _, err := o.Stats(99); return err },
	} {
		s.missing(t, func(tx meta.Tx) error { return ask(tx.Organizations()) })
	}
	s.fails(t, fault.NotFound, func(tx meta.Tx) error {
		return tx.Organizations().Update(meta.Organization{Key: 99, Name: "x"})
	})
}

func users(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"users are found in the order asked":                     usersAreFound,
		"an address is free again once its user is revoked":      addressIsFreed,
		"a replaced key is delivered to each device":             keysAreDelivered,
		"a user manifest is replaced by its successor alone":     userManifestIsSwapped,
		"users of another organization are other users":          usersAreScoped,
		"a user who is revoked twice was revoked the first time": revokedOnce,
		"frozen users are counted, each from the first time on":  frozenAreCounted,
	})
}

func ada(email string) meta.User {
	return meta.User{ID: id.New[id.User](), Email: email, Opening: []byte("opening of " + email)}
}

func (s *store) addUsers(t *testing.T, o meta.OrganizationKey, users ...meta.User) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		for _, u := range users {
			if err := tx.Users().Add(o, u); err != nil {
				return err
			}
		}
		return nil
	})
}

func usersAreFound(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	a, b := ada("a@acme"), ada("b@acme")
	s.addUsers(t, o, a, b)
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Users().Get(o, []id.User{b.ID, id.New[id.User](), a.ID, b.ID})
		same(t, "users", got, []meta.User{b, {}, a, b})
		if err != nil {
			return err
		}
		none, err := tx.Users().Get(o, nil)
		same(t, "nobody", none, []meta.User(nil))
		return err
	})
	same(t, "stats", s.stats(t, o), meta.Stats{Users: 2, ActiveUsers: 2})
	s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Users().Add(o, meta.User{ID: a.ID, Email: "c@acme"}) })
}

func addressIsFreed(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	first, second := ada("a@acme"), ada("a@acme")
	byEmail := func(email string) (got meta.User) {
		s.read(t, func(tx meta.Tx) (err error) {
			got, err = tx.Users().ByEmail(o, email)
			return err
		})
		return got
	}
	s.addUsers(t, o, first)
	same(t, "holder", byEmail("a@acme"), first)
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().ByEmail(o, "A@acme"); return err })
	s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Users().Add(o, second) })
	s.write(t, func(tx meta.Tx) error { return tx.Users().Revoke(o, first.ID, 77) })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().ByEmail(o, "a@acme"); return err })
	s.addUsers(t, o, second)
	same(t, "holder", byEmail("a@acme"), second)
	same(t, "stats", s.stats(t, o), meta.Stats{Users: 2, ActiveUsers: 1})
}

func revokedOnce(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	a := ada("a@acme")
	s.addUsers(t, o, a)
	for _, when := range []int64{77, 88} {
		s.write(t, func(tx meta.Tx) error { return tx.Users().Revoke(o, a.ID, when) })
	}
	a.Revoked = 77
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Users().Get(o, []id.User{a.ID})
		same(t, "users", got, []meta.User{a})
		return err
	})
	same(t, "stats", s.stats(t, o), meta.Stats{Users: 1})
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { return tx.Users().Revoke(o, id.New[id.User](), 1) })
}

func frozenAreCounted(t *testing.T, s *store) {
	o, other := s.newOrganization(t, "Acme"), s.newOrganization(t, "Other")
	a, b := ada("a@acme"), ada("b@acme")
	s.addUsers(t, o, a, b)
	s.addUsers(t, other, a)
	check := func(frozen uint64) {
		t.Helper()
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Users().Get(o, []id.User{a.ID, b.ID})
			same(t, "users", got, []meta.User{a, b})
			if err != nil {
				return err
			}
			row, err := tx.Organizations().ByName("Acme")
			same(t, "frozen", row.Frozen, frozen)
			if err != nil {
				return err
			}
			row, err = tx.Organizations().ByName("Other")
			same(t, "frozen in another organization", row.Frozen, uint64(0))
			return err
		})
	}
	freeze := func(user id.User, since int64) func(meta.Tx) error {
		return func(tx meta.Tx) error {
			row, err := tx.Organizations().Lock(o, meta.Exclusive)
			if err != nil {
				return err
			}
			if err := tx.Organizations().Freeze(o, user, since); err != nil {
				return err
			}
			return tx.Organizations().Update(row) // which leaves the count
		}
	}
	check(0)
	a.Frozen = era + 5
	s.write(t, freeze(a.ID, era+5))
	s.write(t, freeze(a.ID, era+6))
	check(1)
	b.Frozen = era + 7
	s.write(t, freeze(b.ID, era+7))
	check(2)
	a.Frozen = 0
	s.write(t, freeze(a.ID, 0))
	s.write(t, freeze(a.ID, 0))
	check(1)
	s.fails(t, fault.NotFound, freeze(id.New[id.User](), 5))
}

func usersAreScoped(t *testing.T, s *store) {
	first, second := s.newOrganization(t, "First"), s.newOrganization(t, "Second")
	a := ada("a@acme")
	s.addUsers(t, first, a)
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().ByEmail(second, a.Email); return err })
	s.addUsers(t, second, a)
	s.write(t, func(tx meta.Tx) error { return tx.Users().Revoke(second, a.ID, 5) })
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Users().ByEmail(first, a.Email)
		same(t, "user", got, a)
		return err
	})
	same(t, "stats", s.stats(t, first), meta.Stats{Users: 1, ActiveUsers: 1})
}

func keysAreDelivered(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	key := record.Digest{1}
	want := []meta.Delivery{
		{Device: id.New[id.Device](), Key: key, Sealed: []byte("for the first")},
		{Device: id.New[id.Device](), Key: key, Sealed: []byte("for the second")},
	}
	s.write(t, func(tx meta.Tx) error { return tx.Users().Deliver(o, want) })
	for _, d := range want {
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Users().Delivery(o, d.Device, key)
			same(t, "delivery", got, d)
			return err
		})
	}
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().Delivery(o, want[0].Device, record.Digest{2}); return err })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().Delivery(o, id.New[id.Device](), key); return err })
	s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Users().Deliver(o, want[1:]) })
}

func userManifestIsSwapped(t *testing.T, s *store) {
	o, user := s.newOrganization(t, "Acme"), id.New[id.User]()
	put := func(version uint64, manifest string) func(meta.Tx) error {
		return func(tx meta.Tx) error { return tx.Users().PutManifest(o, user, version, []byte(manifest)) }
	}
	s.missing(t, func(tx meta.Tx) error { _, _, err := tx.Users().Manifest(o, user); return err })
	s.fails(t, fault.Stale, put(0, "zero"))
	s.fails(t, fault.Stale, put(2, "two"))
	s.write(t, put(1, "one"))
	s.fails(t, fault.Stale, put(1, "one"))
	s.write(t, put(2, "two"))
	for _, version := range []uint64{1, 2, 4} {
		s.fails(t, fault.Stale, put(version, "other"))
	}
	// A refusal by version leaves the transaction as it was.
	s.write(t, func(tx meta.Tx) error {
		if err := put(9, "nine")(tx); !fault.Is(err, fault.Stale) {
			t.Errorf("got %v, want stale", err)
		}
		return put(3, "three")(tx)
	})
	s.read(t, func(tx meta.Tx) error {
		version, manifest, err := tx.Users().Manifest(o, user)
		same(t, "version", version, uint64(3))
		same(t, "manifest", string(manifest), "three")
		return err
	})
}

func invitations(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"an invitation is found as it was created, and once": invitationIsFound,
		"the pending ones of an inviter are listed by age":   pendingAreListed,
		"attempts are in the order in which they began":      attemptsAreOrdered,
		"a step of an attempt holds one message for ever":    messagesStay,
	})
}

func invitationIsFound(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	want := meta.Invitation{
		Token: meta.Token{1}, Inviter: id.New[id.User](), State: meta.InvitationPending,
		Created: 5, Expires: 50, Statement: []byte("signed"),
	}
	s.write(t, func(tx meta.Tx) error { return tx.Invitations().Create(o, want) })
	s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Invitations().Create(o, want) })
	s.write(t, func(tx meta.Tx) error {
		got, err := tx.Invitations().Lock(o, want.Token)
		if err != nil {
			return err
		}
		same(t, "invitation", got, want)
		return tx.Invitations().SetState(o, want.Token, meta.InvitationUsed)
	})
	want.State = meta.InvitationUsed
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Invitations().Lock(o, want.Token)
		same(t, "invitation", got, want)
		return err
	})
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Invitations().Lock(o, meta.Token{2}); return err })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Invitations().Lock(o+1, want.Token); return err })
	s.fails(t, fault.NotFound, func(tx meta.Tx) error {
		return tx.Invitations().SetState(o, meta.Token{2}, meta.InvitationUsed)
	})
}

func pendingAreListed(t *testing.T, s *store) {
	o, inviter := s.newOrganization(t, "Acme"), id.New[id.User]()
	row := func(token byte, created int64, inviter id.User, state meta.InvitationState) meta.Invitation {
		return meta.Invitation{Token: meta.Token{token}, Inviter: inviter, State: state, Created: created}
	}
	s.write(t, func(tx meta.Tx) error {
		for _, i := range []meta.Invitation{
			row(9, 1, inviter, meta.InvitationPending),
			row(1, 2, inviter, meta.InvitationPending),
			row(3, 2, inviter, meta.InvitationPending),
			row(2, 2, inviter, meta.InvitationPending),
			row(4, 3, inviter, meta.InvitationUsed),
			row(5, 3, inviter, meta.InvitationCancelled),
			row(6, 3, id.New[id.User](), meta.InvitationPending),
			row(7, 4, inviter, meta.InvitationPending),
		} {
			if err := tx.Invitations().Create(o, i); err != nil {
				return err
			}
		}
		return tx.Invitations().SetState(o, meta.Token{7}, meta.InvitationCancelled)
	})
	var got []byte
	s.read(t, func(tx meta.Tx) error {
		var after meta.Invitation
		for {
			page, err := tx.Invitations().Pending(o, inviter, after, 3)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, i := range page {
				got = append(got, i.Token[0])
				after = i
			}
		}
	})
	same(t, "tokens", got, []byte{9, 1, 2, 3})
}

func attemptsAreOrdered(t *testing.T, s *store) {
	o, token := s.newOrganization(t, "Acme"), meta.Token{1}
	set := func(a byte, aborted bool) {
		s.write(t, func(tx meta.Tx) error {
			return tx.Invitations().SetAttempt(o, token, meta.AttemptState{Attempt: meta.Attempt{a}, Aborted: aborted})
		})
	}
	for _, a := range []byte{5, 3, 4} {
		set(a, false)
	}
	set(3, true)
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Invitations().Attempts(o, token)
		same(t, "attempts", got, []meta.AttemptState{{Attempt: meta.Attempt{5}}, {Attempt: meta.Attempt{3}, Aborted: true}, {Attempt: meta.Attempt{4}}})
		if err != nil {
			return err
		}
		none, err := tx.Invitations().Attempts(o, meta.Token{2})
		same(t, "attempts of another", none, []meta.AttemptState(nil))
		return err
	})
}

func messagesStay(t *testing.T, s *store) {
	o, token, attempt := s.newOrganization(t, "Acme"), meta.Token{1}, meta.Attempt{2}
	leave := func(step uint32, message string) func(meta.Tx) error {
		return func(tx meta.Tx) error { return tx.Invitations().Leave(o, token, attempt, step, []byte(message)) }
	}
	s.write(t, leave(1, "hello"))
	s.write(t, leave(2, ""))
	s.fails(t, fault.Conflict, leave(1, "hello"))
	s.fails(t, fault.Conflict, leave(1, "other"))
	for step, want := range map[uint32]string{1: "hello", 2: ""} {
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Invitations().Message(o, token, attempt, step)
			same(t, "message", string(got), want)
			return err
		})
	}
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Invitations().Message(o, token, attempt, 3); return err })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Invitations().Message(o, token, meta.Attempt{3}, 1); return err })
}
