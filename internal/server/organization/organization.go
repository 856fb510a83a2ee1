// Package organization is the service of organizations: who exists. It appends
// to the organization's log and serves it, keeps beside it what the log only
// commits to (openings of identities, deliveries of replaced keys), stores the
// users' own manifests, and answers the operator.
//
// The rules of the log are those of package verify. What stands here is what
// only a server can see to: that e-mail addresses are unique, that the
// operator's limits hold, that everything a record commits to came with it,
// and that a record whose answer was lost is answered again and not refused.
package organization

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/format/request"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
	"parsec/internal/verify"
)

// pageSize is how much of a log one message or one refusal carries.
const pageSize = 1 << 20

// maxClockSkew is how far a record's time may be ahead of or behind the
// server's clock.
const maxClockSkew = 5 * time.Minute

// Publisher tells subscribers what moved.
type Publisher interface {
	Publish(t events.Topic, index uint64)
}

// Service serves organizations. It is safe for concurrent use.
type Service struct {
	store meta.Store
	keep  *access.Keeper
	hub   Publisher
	now   func() time.Time
}

// New returns the service over a store.
func New(store meta.Store, keep *access.Keeper, hub Publisher, now func() time.Time) *Service {
	return &Service{store: store, keep: keep, hub: hub, now: now}
}

// Authenticate checks a request token, and that its device is in use now.
func (s *Service) Authenticate(ctx context.Context, t request.Token, w request.What) (call.Caller, error) {
	c := call.Caller{Organization: t.Organization, Device: t.Device}
	var device verify.Device
	var suspended error // told to the user alone: behind the check of the signature
	err := s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Open(tx, t.Organization)
		if err != nil {
			return err
		}
		if err := o.Check(c); err != nil {
			return err
		}
		device, _ = o.State.Device(t.Device)
		c.Key = o.Row.Key
		suspended = o.CheckUser(tx, device.User)
		return nil
	})
	if err != nil {
		return call.Caller{}, err
	}
	if err := t.Check(w, device.Verify, s.now()); err != nil {
		return call.Caller{}, err
	}
	c.User = device.User
	return c, suspended
}

// Bootstrap creates the log of an organization that the operator made room
// for, from its genesis record and the first user's opening.
func (s *Service) Bootstrap(ctx context.Context, token id.Token, raw, opening []byte) (record.Position, error) {
	r, err := record.Parse(raw)
	if err != nil {
		return record.Position{}, err
	}
	state := verify.NewOrganization(sha256.Sum256(raw))
	step, err := state.Append(raw)
	if err != nil {
		return record.Position{}, err
	}
	genesis, ok := step.Payload.(record.Genesis)
	if !ok {
		return record.Position{}, fault.Errorf(fault.Invalid, "bootstrap with a %s record", r.Kind)
	}
	user, err := checkOpening(opening, [32]byte(genesis.Root), genesis.First)
	if err != nil {
		return record.Position{}, err
	}
	var again bool
	var key meta.OrganizationKey
	err = s.store.Write(ctx, func(tx meta.Tx) error {
		row, err := s.lockUnused(tx, token, genesis.Name, state.Fingerprint())
		if err != nil {
			return err
		}
		key = row.Key
		if again = row.Position.Index > 0; again {
			return nil
		}
		if err := s.checkClock(r); err != nil {
			return err
		}
		row.Fingerprint, row.Root, row.Position, row.Updated = state.Fingerprint(), state.Root(), step.Position, s.now().UnixNano()
		if err := tx.Organizations().Update(row); err != nil {
			return err
		}
		if err := tx.Users().Add(row.Key, user); err != nil {
			return err
		}
		return tx.Logs().Append(row.Key.Log(), []meta.Record{{Position: step.Position, Digest: r.Digest, Raw: raw}})
	})
	if err == nil && !again {
		s.keep.OrganizationMoved(key, state)
	}
	return step.Position, err
}

// lockUnused returns the locked row of the organization with this name, if
// the token opens it and it has no log yet, or the one that begins with this
// very genesis.
func (s *Service) lockUnused(tx meta.Tx, token id.Token, name string, f id.Fingerprint) (meta.Organization, error) {
	unknown := fault.WithHint(fault.Errorf(fault.NotFound, "the bootstrap link is unknown or was used"), "ask the operator of the server for a new one")
	row, err := tx.Organizations().ByName(name)
	if fault.Is(err, fault.NotFound) {
		return row, unknown
	}
	if err != nil {
		return row, err
	}
	if row, err = tx.Organizations().Lock(row.Key, meta.Exclusive); err != nil {
		return row, err
	}
	switch {
	case row.Bootstrap != sha256.Sum256(token[:]), row.Position.Index > 0 && row.Fingerprint != f:
		return row, unknown
	case row.Deleting > 0:
		return row, unknown
	case row.Expired:
		return row, fault.WithHint(fault.Errorf(fault.Frozen, "the organization is suspended"), "ask the operator of the server")
	}
	return row, nil
}

func (s *Service) checkClock(r *record.Record) error {
	if off := time.Unix(0, r.Time).Sub(s.now()); off > maxClockSkew || off < -maxClockSkew {
		return fault.WithHint(fault.Errorf(fault.Clock, "%s record: its time is %s off the server's clock", r.Kind, off.Round(time.Second)),
			"set the clock of this computer")
	}
	return nil
}

// Page is a part of the organization's log.
type Page struct {
	// Position is where the log stands.
	Position record.Position
	Records  [][]byte
	// Openings are those of the users added in these records.
	Openings [][]byte
}

// Pull hands out the records behind an index, up to where the log stood at
// the beginning, in at least one page.
func (s *Service) Pull(ctx context.Context, c call.Caller, since uint64, send func(Page) error) error {
	var end record.Position
	for first := true; first || since < end.Index; first = false {
		page, last, err := s.page(ctx, c, since)
		if err != nil {
			return err
		}
		if first {
			end = page.Position
		}
		if last <= since && since < end.Index {
			return fault.Errorf(fault.Failed, "read the organization's log: nothing behind index %d", since)
		}
		if err := send(page); err != nil {
			return err
		}
		since = last
	}
	return nil
}

func (s *Service) page(ctx context.Context, c call.Caller, since uint64) (page Page, last uint64, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		page, last = Page{Position: o.Row.Position}, since
		records, err := tx.Logs().Since(c.Key.Log(), since, pageSize)
		if err != nil || len(records) == 0 {
			return err
		}
		page.Records = raws(records)
		last = records[len(records)-1].Position.Index
		if o.Profile(c) == record.ProfileOutsider {
			return nil
		}
		page.Openings, err = openings(tx, o, since, last)
		return err
	})
	return page, last, err
}

func raws(records []meta.Record) [][]byte {
	all := make([][]byte, len(records))
	for i, r := range records {
		all[i] = r.Raw
	}
	return all
}

// openings returns those of the users added behind since, up to last.
func openings(tx meta.Tx, o access.Organization, since, last uint64) ([][]byte, error) {
	var ids []id.User
	for _, u := range o.State.Users() {
		if since < u.Added && u.Added <= last {
			ids = append(ids, u.ID)
		}
	}
	users, err := tx.Users().Get(o.Row.Key, ids)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, len(users))
	for i, u := range users {
		all[i] = u.Opening
	}
	return all, nil
}

// Workspaces returns where the caller's organization and workspaces stand.
func (s *Service) Workspaces(ctx context.Context, c call.Caller) (organization uint64, all []meta.Membership, err error) {
	const batch = 1000
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		organization, all = o.Present(), nil
		var after id.Workspace
		for {
			some, err := tx.Workspaces().OfMember(c.Key, c.User, after, batch)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < batch {
				return nil
			}
			after = some[len(some)-1].ID
		}
	})
	return organization, slices.Clip(all), err
}
