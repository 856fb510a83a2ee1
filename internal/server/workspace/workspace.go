// Package workspace is the service of workspaces: who may do what, and what
// was written. It appends to a workspace's log and serves it, with the sealed
// manifests and grants that its records commit to.
//
// The rules of the log are those of package verify. What stands here is what
// only a server can see to: that everything a record commits to came with it,
// that the blocks which a commit introduces are stored, that the operator's
// limits hold, and that a record whose answer was lost is answered again and
// not refused. Signatures, digests and sizes are checked before a transaction
// locks anything; inside it only place, authority and versions.
package workspace

import (
	"context"
	"math"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
)

const (
	// pageSize is how much of a log, or of manifests, one message or one
	// refusal carries.
	pageSize = 1 << 20
	// maxClockSkew is how far a record's time may be off the server's clock.
	maxClockSkew = 5 * time.Minute
	// MaxEntries is how many entries may be asked for at once.
	MaxEntries = 4096
	// maxGrants is how many grants are handed out at once: the newest opens
	// all before it, so more than one serves only repairs.
	maxGrants = 256
	// maxGrant is the longest sealed workspace key: its HPKE encapsulation and
	// ciphertext, with room to spare.
	maxGrant = 4 << 10
)

// Publisher tells subscribers what moved.
type Publisher interface {
	Publish(t events.Topic, index uint64)
}

// Service serves workspaces. It is safe for concurrent use.
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

// Page is a part of a workspace's log.
type Page struct {
	// Position is where the log stands.
	Position record.Position
	Records  [][]byte
}

// Pull hands out the records behind an index, up to where the log stood at
// the beginning, in at least one page. Each page is for somebody who is still
// a member.
func (s *Service) Pull(ctx context.Context, c call.Caller, w id.Workspace, since uint64, send func(Page) error) error {
	var end record.Position
	for first := true; first || since < end.Index; first = false {
		page, last, err := s.page(ctx, c, w, since)
		if err != nil {
			return err
		}
		if first {
			end = page.Position
		}
		if last <= since && since < end.Index {
			return fault.Errorf(fault.Failed, "read log of workspace %s: nothing behind index %d", w, since)
		}
		if err := send(page); err != nil {
			return err
		}
		since = last
	}
	return nil
}

func (s *Service) page(ctx context.Context, c call.Caller, w id.Workspace, since uint64) (page Page, last uint64, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		ws, err := s.keep.Member(tx, c, w, record.RoleReader)
		if err != nil {
			return err
		}
		page, last = Page{Position: ws.Row.Position}, since
		records, err := tx.Logs().Since(ws.Row.Key.Log(), since, pageSize)
		if err != nil || len(records) == 0 {
			return err
		}
		page.Records, last = raws(records), records[len(records)-1].Position.Index
		return nil
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

// Manifests hands out the newest live chain of every entry that changed
// behind an index and whose place is behind after, by ascending place; of
// each chain only the versions that came behind the index. send is given the
// cursor behind what it gets.
func (s *Service) Manifests(ctx context.Context, c call.Caller, w id.Workspace, since uint64, after meta.Cursor,
	send func(chains []call.Chain, cursor meta.Cursor) error,
) error {
	for {
		var chains []meta.Chain
		err := s.store.Read(ctx, func(tx meta.Tx) error {
			ws, err := s.keep.Member(tx, c, w, record.RoleReader)
			if err != nil {
				return err
			}
			chains, err = tx.Entries().Changed(ws.Row.Key, since, after, pageSize)
			return err
		})
		if err != nil || len(chains) == 0 {
			return err
		}
		newest := chains[len(chains)-1]
		after = meta.Cursor{Index: newest.Index, Entry: newest.Entry}
		if err := send(outgoing(chains), after); err != nil {
			return err
		}
	}
}

// EntryManifests hands out the newest live chain of each of these entries
// that is not gone.
func (s *Service) EntryManifests(ctx context.Context, c call.Caller, w id.Workspace, entries []id.Entry, send func([]call.Chain) error) error {
	if len(entries) > MaxEntries {
		return fault.Errorf(fault.TooLarge, "a request for %d entries, at most %d are allowed", len(entries), MaxEntries)
	}
	for len(entries) > 0 {
		var chains []meta.Chain
		err := s.store.Read(ctx, func(tx meta.Tx) error {
			ws, err := s.keep.Member(tx, c, w, record.RoleReader)
			if err != nil {
				return err
			}
			chains, err = tx.Entries().Chains(ws.Row.Key, entries, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		entries = entries[len(chains):]
		if err := send(outgoing(chains)); err != nil {
			return err
		}
	}
	return nil
}

// EntryVersions hands out versions of entries, whether they are live or not:
// for each span all of it, or nothing where it is not whole.
func (s *Service) EntryVersions(ctx context.Context, c call.Caller, w id.Workspace, spans []meta.Span, send func([]call.Chain) error) error {
	if len(spans) > MaxEntries {
		return fault.Errorf(fault.TooLarge, "a request for versions of %d entries, at most %d are allowed", len(spans), MaxEntries)
	}
	for _, span := range spans {
		if span.First == 0 || span.Last < span.First || span.Last-span.First > manifest.MaxDeltas || span.Last > math.MaxInt64 {
			return fault.Errorf(fault.Invalid, "a request for versions %d to %d of an entry", span.First, span.Last)
		}
	}
	for len(spans) > 0 {
		var chains []meta.Chain
		err := s.store.Read(ctx, func(tx meta.Tx) error {
			ws, err := s.keep.Member(tx, c, w, record.RoleReader)
			if err != nil {
				return err
			}
			chains, err = tx.Entries().Spans(ws.Row.Key, spans, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		spans = spans[len(chains):]
		if err := send(outgoing(chains)); err != nil {
			return err
		}
	}
	return nil
}

// outgoing returns the chains that are there.
func outgoing(chains []meta.Chain) []call.Chain {
	live := make([]call.Chain, 0, len(chains))
	for _, c := range chains {
		if len(c.Manifests) == 0 {
			continue
		}
		versions := make([]call.Manifest, len(c.Manifests))
		for i, m := range c.Manifests {
			versions[i] = call.Manifest{Version: m.Number, Sealed: m.Sealed}
		}
		live = append(live, call.Chain{Entry: c.Entry, Manifests: versions})
	}
	return live
}

// Grants returns the newest grants to the caller's user, newest first.
func (s *Service) Grants(ctx context.Context, c call.Caller, w id.Workspace) (grants []meta.Grant, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		ws, err := s.keep.Member(tx, c, w, record.RoleReader)
		if err != nil {
			return err
		}
		grants, err = tx.Grants().Of(ws.Row.Key, c.User, 0, maxGrants)
		return err
	})
	return grants, err
}

// Regrant keeps an existing generation of the key as the caller sealed it to
// another member, beside the grant of the record. Members check what they open
// against the log, so a wrong one does no harm but to its author's name.
func (s *Service) Regrant(ctx context.Context, c call.Caller, w id.Workspace, g meta.Grant) error {
	if len(g.Sealed) == 0 || len(g.Sealed) > maxGrant {
		return fault.Errorf(fault.Invalid, "a sealed key of %d bytes", len(g.Sealed))
	}
	g.Resealer = c.User
	return s.store.Write(ctx, func(tx meta.Tx) error {
		ws, err := s.keep.LockMember(tx, c, w, record.RoleReader)
		if err != nil {
			return err
		}
		o := ws.Organization
		if ws.State.Role(o.State, g.Recipient, o.Present()) == record.RoleNone {
			return fault.Errorf(fault.Denied, "user %s is not a member of workspace %s", id.User(g.Recipient), w)
		}
		if g.Generation == 0 || g.Generation > ws.State.Generation() {
			return fault.Errorf(fault.NotFound, "workspace %s has no generation %d of its key", w, g.Generation)
		}
		return tx.Grants().Put(ws.Row.Key, []meta.Grant{g})
	})
}
