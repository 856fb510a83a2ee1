package session

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Person is a user with the name that the server gave and the log confirms.
type Person struct {
	verify.User
	// Email and Name are empty for those whose names this user may not see.
	Email, Name string
}

// People returns all users, in the order of adding.
func (s *Session) People() []Person {
	var all []Person
	for _, u := range s.org.Load().Users() {
		all = append(all, s.person(u))
	}
	return all
}

// Person returns the user with this id.
func (s *Session) Person(u id.User) (Person, bool) {
	user, ok := s.org.Load().User(u)
	return s.person(user), ok
}

func (s *Session) person(u verify.User) Person {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.openings[u.ID]
	return Person{User: u, Email: o.Email, Name: o.Name}
}

// EmailOf returns a user's e-mail address, or the id where it is not known.
func (s *Session) EmailOf(u id.User) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.openings[u]; ok {
		return o.Email
	}
	return u.String()
}

// AuthorOf returns whose a device is, as e-mail address and, if it is known, the
// device's label; "" for a device that the organization does not have.
func (s *Session) AuthorOf(d id.Device) string {
	known, ok := s.Organization().Device(d)
	if !ok {
		return ""
	}
	return strings.TrimSpace(s.EmailOf(known.User) + " " + s.Label(d))
}

// Self returns the user whose device this is.
func (s *Session) Self() Person {
	p, _ := s.Person(s.device.User)
	return p
}

// Profile returns the own user's present profile.
func (s *Session) Profile() record.Profile {
	return s.org.Load().ProfileAt(s.device.User, s.org.Load().Position().Index)
}

// Find returns the unrevoked user with an e-mail address. Where two claim it,
// neither is meant.
func (s *Session) Find(email string) (Person, error) {
	var found []Person
	for _, p := range s.People() {
		if p.Email == email && p.Revoked == 0 {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Person{}, fault.WithHint(fault.Errorf(fault.NotFound, "no user %s in %s", email, s.organizationName()),
			"`parsec user list` shows who is there; `parsec invite user %s` invites", email)
	}
	return Person{}, fault.Broken(PromiseIdentity, "%d users of %s claim the address %s", len(found), s.organizationName(), email)
}

// Reused returns a revoked user who had the same e-mail address before, if
// there is one: whoever trusted that one has to look again.
func (s *Session) Reused(p Person) (Person, bool) {
	for _, other := range s.People() {
		if other.Email == p.Email && other.ID != p.ID && other.Revoked != 0 {
			return other, true
		}
	}
	return Person{}, false
}

// RevokeUser ends a user. The workspaces of that user are due for rotation
// from then on.
func (s *Session) RevokeUser(ctx context.Context, email string) (Person, error) {
	p, err := s.Find(email)
	if err != nil {
		return p, err
	}
	return p, s.AppendOrganization(ctx, func(*verify.Organization) (Draft, error) {
		return Draft{Payload: record.UserRevoked{User: p.ID}}, nil
	})
}

// SetProfile gives a user another profile. It does nothing where the user has
// it already.
func (s *Session) SetProfile(ctx context.Context, email string, profile record.Profile) (Person, error) {
	p, err := s.Find(email)
	if err != nil || p.Profile() == profile {
		return p, err
	}
	return p, s.AppendOrganization(ctx, func(*verify.Organization) (Draft, error) {
		return Draft{Payload: record.ProfileChanged{User: p.ID, Profile: profile}}, nil
	})
}

// NewOpening returns an opening for a new user's identity.
func NewOpening(u id.User, email, name string) (record.Opening, error) {
	o := record.Opening{User: u, Email: email, Name: name}
	rand.Read(o.Salt[:])
	return o, o.Check()
}

// At returns the time of a record, for people.
func At(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
