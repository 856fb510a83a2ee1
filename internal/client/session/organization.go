package session

import (
	"bytes"
	"context"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// The promises whose breach is found by comparing positions of a log.
const (
	PromiseNoRollback = "no rollback"
	PromiseOneHistory = "one history for all"
	PromiseIdentity   = "authentic identities"
)

// CheckExtends compares where the server says that a log stands with where
// this device has verified it.
func CheckExtends(what string, verified, server record.Position) error {
	err := error(nil)
	switch {
	case server.Index < verified.Index:
		err = fault.Broken(PromiseNoRollback,
			"the log of %s ends at index %d (head %.16s) on the server, but this device has verified it up to index %d (head %.16s)",
			what, server.Index, server.Head, verified.Index, verified.Head)
	case server.Index == verified.Index && server.Head != verified.Head:
		err = fault.Broken(PromiseOneHistory,
			"the log of %s has head %.16s at index %d on the server, but this device has verified head %.16s there",
			what, server.Head, server.Index, verified.Head)
	}
	return fault.WithHint(err, "the server was put back to an older state or shows a false one; nothing was written; tell its administrator")
}

// Organization returns the newest verified state of the organization's log.
// It is shared and must not be changed.
func (s *Session) Organization() *verify.Organization { return s.org.Load() }

// organizationName is what messages call the organization.
func (s *Session) organizationName() string {
	if name := s.org.Load().Name(); name != "" {
		return fmt.Sprintf("organization %q", name)
	}
	return "the organization"
}

// PullOrganization verifies and remembers what came to the organization's log.
func (s *Session) PullOrganization(ctx context.Context) error {
	return s.Exclusive(ctx, s.pullOrganization)
}

func (s *Session) pullOrganization(ctx context.Context) error {
	var claimed *record.Position
	err := s.server.PullOrganization(ctx, s.org.Load().Position().Index, func(b remote.Batch) error {
		if b.Position != nil && claimed == nil {
			if err := CheckExtends(s.organizationName(), s.org.Load().Position(), *b.Position); err != nil {
				return err
			}
			claimed = b.Position
		}
		return s.acceptOrganization(ctx, b)
	})
	if err != nil {
		return err
	}
	if claimed != nil && !s.org.Load().Contains(*claimed) {
		return fault.Broken(verify.RuleKnown.String(), "the server said that the log of %s stands at index %d, and gave it up to %d",
			s.organizationName(), claimed.Index, s.org.Load().Position().Index)
	}
	if err := s.checkPinned(); err != nil {
		return err
	}
	return s.checkNames(ctx)
}

// acceptOrganization verifies the records of a batch and remembers them.
func (s *Session) acceptOrganization(ctx context.Context, b remote.Batch) error {
	if len(b.Records) == 0 && len(b.Openings) == 0 {
		return nil
	}
	next := s.org.Load().Clone()
	records := make([]store.Record, 0, len(b.Records))
	for _, raw := range b.Records {
		step, err := next.Append(raw)
		if err != nil {
			return verify.Broken(err)
		}
		records = append(records, store.Record{Index: step.Position.Index, Head: step.Position.Head, Raw: raw})
	}
	openings, err := checkOpenings(next, b.Openings)
	if err != nil {
		return err
	}
	err = s.local.State.Update(ctx, func(tx *store.StateTx) error {
		if err := tx.Append(id.Workspace{}, records...); err != nil {
			return err
		}
		for _, o := range openings {
			if err := tx.PutOpening(o.User, canon.Marshal(o)); err != nil {
				return err
			}
		}
		return tx.PutOrganization(store.Organization{Position: next.Position(), Snapshot: next.Snapshot()})
	})
	if err != nil {
		return err
	}
	s.org.Store(next)
	s.keepOpenings(openings)
	return nil
}

// keepOpenings takes up openings that were checked.
func (s *Session) keepOpenings(openings []record.Opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range openings {
		s.openings[o.User] = o
	}
}

// checkOpenings decodes openings and compares each with the commitment in the
// user's record.
func checkOpenings(o *verify.Organization, raw [][]byte) ([]record.Opening, error) {
	var all []record.Opening
	for _, data := range raw {
		var opening record.Opening
		if err := canon.Unmarshal(data, &opening); err != nil {
			return nil, fault.Broken(PromiseIdentity, "the name of a user cannot be read: %w", err)
		}
		if err := checkOpening(o, opening); err != nil {
			return nil, err
		}
		all = append(all, opening)
	}
	return all, nil
}

func checkOpening(o *verify.Organization, opening record.Opening) error {
	user, ok := o.User(opening.User)
	if !ok {
		return fault.Broken(PromiseIdentity, "the server names user %s, who is not in the organization's log", opening.User)
	}
	bound := [32]byte(o.Fingerprint())
	if user.Added == 1 {
		bound = [32]byte(o.Root())
	}
	if opening.Commit(bound) != user.Identity {
		return fault.Broken(PromiseIdentity, "the server gives user %s another name or e-mail address than the one that was signed", opening.User)
	}
	return nil
}

// checkPinned checks that the organization's log passes through what the
// device was told at enrollment, and names the device with its own keys.
func (s *Session) checkPinned() error {
	pinned := s.device.Enrolled.Organization
	if !s.org.Load().Contains(pinned) {
		at := s.org.Load().Position()
		if at.Index >= pinned.Index {
			return fault.Broken(PromiseOneHistory, "the log of %s does not pass through index %d, which this device was told at enrollment",
				s.organizationName(), pinned.Index)
		}
		return CheckExtends(s.organizationName(), pinned, at)
	}
	own, ok := s.org.Load().Device(s.device.Device)
	if !ok || own.User != s.device.User || !hasKeys(own, s.device.Keys()) {
		return fault.Broken(PromiseIdentity, "the log of %s does not name this device with its own keys", s.organizationName())
	}
	if !s.org.Load().ActiveAt(s.device.Device, s.org.Load().Position().Index) {
		return fault.WithHint(fault.Errorf(fault.Denied, "this device, or its user, was revoked in %s", s.organizationName()),
			"what it holds stays readable; ask an administrator for a new invitation")
	}
	return nil
}

func hasKeys(d verify.Device, k record.DeviceKeys) bool {
	return bytes.Equal(d.Verify, k.Verify) && bytes.Equal(d.Encrypt, k.Encrypt)
}

// AuditOrganization reads the organization's log from its beginning, as the
// server gives it now, verifies every record again, and checks that it passes
// through what this device remembers.
func (s *Session) AuditOrganization(ctx context.Context) (*verify.Organization, error) {
	fresh := verify.NewOrganization(s.device.Organization)
	err := s.server.PullOrganization(ctx, 0, func(b remote.Batch) error {
		for _, raw := range b.Records {
			if _, err := fresh.Append(raw); err != nil {
				return verify.Broken(err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", s.organizationName(), err)
	}
	if mine := s.org.Load().Position(); !fresh.Contains(mine) {
		if fresh.Position().Index <= mine.Index {
			return nil, CheckExtends(s.organizationName(), mine, fresh.Position())
		}
		return nil, fault.Broken(PromiseOneHistory, "the log of %s does not pass through index %d as this device has verified it",
			s.organizationName(), mine.Index)
	}
	return fresh, nil
}

// Draft is a record of the organization's log that is to be signed, with what
// goes beside it.
type Draft struct {
	Payload    record.Payload
	Opening    []byte
	Deliveries []Sealed
	Invitation id.Token
}

// maxTries bounds how often a record is signed anew because others were first.
const maxTries = 20

// AppendOrganization appends a record. Where another record took its place, it
// pulls and asks for a new draft.
func (s *Session) AppendOrganization(ctx context.Context, draft func(*verify.Organization) (Draft, error)) error {
	return s.Exclusive(ctx, func(ctx context.Context) error { return s.appendOrganization(ctx, draft) })
}

func (s *Session) appendOrganization(ctx context.Context, draft func(*verify.Organization) (Draft, error)) error {
	if err := s.Settle(ctx); err != nil {
		return err
	}
	for try := 0; ; try++ {
		d, err := draft(s.org.Load())
		if err != nil {
			return err
		}
		err = s.appendDraft(ctx, d)
		if !fault.Is(err, fault.Stale) || try == maxTries {
			return err
		}
		if err := s.PullOrganization(ctx); err != nil {
			return err
		}
	}
}

func (s *Session) appendDraft(ctx context.Context, d Draft) error {
	seq := s.org.Load().Sequence(s.device.Device) + 1
	raw := s.Sign(record.OrganizationLog(s.org.Load().Root()), record.Seen{Organization: s.org.Load().Position()}, seq, s.org.Load().Time(), d.Payload)
	if _, err := s.org.Load().Clone().Append(raw); err != nil {
		return err // refuse here what the server would
	}
	_, err := s.Send(ctx, id.Workspace{}, Request{
		Record: raw, Opening: d.Opening, Deliveries: d.Deliveries, Invitation: d.Invitation,
	}, nil)
	if err == nil {
		err = s.PullOrganization(ctx)
	}
	if err == nil && s.org.Load().Sequence(s.device.Device) < seq {
		err = fault.Broken(verify.RuleSequence.String(), "the server took a record into the log of %s, or said so, and gives the log without it", s.organizationName())
	}
	return err
}
