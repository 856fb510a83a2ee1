package organization

import (
	"context"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
)

// This file is what the operator may do, who sees no contents and no keys.

// Create makes room for an organization, and returns the token with which its
// first device bootstraps it. The server keeps the token's hash only.
func (s *Service) Create(ctx context.Context, name string) (id.Token, error) {
	if err := record.CheckText("the organization's name", name, record.MaxOrganizationName); err != nil {
		return id.Token{}, err
	}
	token := id.New[id.Token]()
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		_, err := tx.Organizations().Create(meta.Organization{
			Name: name, Bootstrap: sha256.Sum256(token[:]), Created: s.now().UnixNano(),
			Limits: meta.Limits{Outsiders: true},
		})
		if fault.Is(err, fault.Conflict) {
			if row, err := tx.Organizations().ByName(name); err == nil && row.Deleting > 0 {
				return going(row)
			}
			return fault.WithHint(fault.Errorf(fault.Conflict, "organization %q exists", name), "choose another name")
		}
		return err
	})
	return token, err
}

// List returns all organizations by name.
func (s *Service) List(ctx context.Context) (all []meta.Organization, err error) {
	const batch = 1000
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		all = nil
		after := ""
		for {
			some, err := tx.Organizations().List(after, batch)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < batch {
				return nil
			}
			after = some[len(some)-1].Name
		}
	})
	return all, err
}

// Stats returns an organization's row and what it has stored.
func (s *Service) Stats(ctx context.Context, name string) (row meta.Organization, stats meta.Stats, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		if row, err = byName(tx, name); err != nil {
			return err
		}
		stats, err = tx.Organizations().Stats(row.Key)
		return err
	})
	return row, stats, err
}

func byName(tx meta.Tx, name string) (meta.Organization, error) {
	row, err := tx.Organizations().ByName(name)
	if fault.Is(err, fault.NotFound) {
		err = fault.WithHint(fault.Errorf(fault.NotFound, "no organization %q on this server", name), "`parsec-server org list` names them")
	}
	return row, err
}

// going refuses to do something with an organization that is being deleted.
func going(row meta.Organization) error {
	return fault.WithHint(fault.Errorf(fault.Conflict, "organization %q is being deleted", row.Name),
		"`parsec-server org list` says what it waits for; the name is free once the organization is no longer listed")
}

// lockNamed returns the row of an organization that stays, locked exclusively.
func lockNamed(tx meta.Tx, name string) (meta.Organization, error) {
	row, err := byName(tx, name)
	if err != nil {
		return row, err
	}
	if row, err = tx.Organizations().Lock(row.Key, meta.Exclusive); err == nil && row.Deleting > 0 {
		err = going(row)
	}
	return row, err
}

// Delete begins to remove an organization with all that it has, for ever. Its
// members are refused, and what their devices have under way ends, at once;
// everything else is done by and by, by a job. To delete one again is no
// failure.
func (s *Service) Delete(ctx context.Context, name string) (row meta.Organization, err error) {
	err = s.store.Write(ctx, func(tx meta.Tx) error {
		if row, err = byName(tx, name); err != nil {
			return err
		}
		if row, err = tx.Organizations().Lock(row.Key, meta.Exclusive); err != nil {
			return err
		}
		if row.Deleting == 0 {
			row.Deleting = s.now().UnixNano()
		}
		row.Updated, row.Problem = s.now().UnixNano(), "" // what it was it may not be any more
		return tx.Organizations().Update(row)
	})
	if err == nil {
		s.hub.Publish(events.Topic{Organization: row.Fingerprint, Kind: events.Access}, 0)
	}
	return row, err
}

// Settings are what the operator changes; nil leaves a setting as it is.
type Settings struct {
	ActiveUsers, Storage *uint64
	Outsiders, Expired   *bool
}

// Set changes an organization's settings and returns its row.
func (s *Service) Set(ctx context.Context, name string, settings Settings) (row meta.Organization, err error) {
	err = s.store.Write(ctx, func(tx meta.Tx) error {
		if row, err = lockNamed(tx, name); err != nil {
			return err
		}
		set(&row.Limits.ActiveUsers, settings.ActiveUsers)
		set(&row.Limits.Storage, settings.Storage)
		set(&row.Limits.Outsiders, settings.Outsiders)
		set(&row.Expired, settings.Expired)
		row.Updated = s.now().UnixNano()
		return tx.Organizations().Update(row)
	})
	if err == nil && settings.Expired != nil {
		s.hub.Publish(events.Topic{Organization: row.Fingerprint, Kind: events.Access}, 0)
	}
	return row, err
}

// Freeze suspends the user with this address, or with false lets them in
// again. To do what is done already is no failure. What the user's devices
// have under way ends at once.
func (s *Service) Freeze(ctx context.Context, name, email string, frozen bool) error {
	var t events.Topic
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		row, err := lockNamed(tx, name)
		if err != nil {
			return err
		}
		user, err := tx.Users().ByEmail(row.Key, email)
		if fault.Is(err, fault.NotFound) {
			return fault.WithHint(fault.Errorf(fault.NotFound, "no active user of organization %q has the address %q", name, email),
				"`parsec-server user list` names them")
		}
		if err != nil {
			return err
		}
		var since int64
		if frozen {
			since = s.now().UnixNano()
		}
		t = events.Topic{Organization: row.Fingerprint, Kind: events.Access, ID: user.ID}
		// The row moves too, so that other servers find out what changed where
		// they are not told.
		row.Updated = s.now().UnixNano()
		if err := tx.Organizations().Update(row); err != nil {
			return err
		}
		return tx.Organizations().Freeze(row.Key, user.ID, since)
	})
	if err == nil {
		s.hub.Publish(t, 0)
	}
	return err
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// Person is a user as the operator sees one.
type Person struct {
	ID          id.User
	Email, Name string
	Profile     record.Profile
	// Revoked and Frozen are in nanoseconds since the Unix epoch; 0 while
	// the user is active, and not suspended.
	Revoked, Frozen int64
}

// People returns the users of an organization in the order of adding.
func (s *Service) People(ctx context.Context, name string) (people []Person, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		people = nil
		row, err := byName(tx, name)
		if err == nil && row.Deleting > 0 {
			err = going(row)
		}
		if err != nil || row.Position.Index == 0 {
			return err
		}
		state, err := s.keep.Organization(tx, row)
		if err != nil {
			return err
		}
		users := state.Users()
		ids := make([]id.User, len(users))
		for i, u := range users {
			ids[i] = u.ID
		}
		rows, err := tx.Users().Get(row.Key, ids)
		if err != nil {
			return err
		}
		for i, u := range users {
			var o record.Opening
			if err := canon.Unmarshal(rows[i].Opening, &o); err != nil {
				return fault.Errorf(fault.Failed, "read opening of user %s: %w", u.ID, err)
			}
			people = append(people, Person{ID: u.ID, Email: o.Email, Name: o.Name, Profile: u.Profile(), Revoked: rows[i].Revoked, Frozen: rows[i].Frozen})
		}
		return nil
	})
	return people, err
}
