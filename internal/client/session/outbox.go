package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// Request is a signed record with all that is sent beside it, as it is kept
// until the server has answered.
type Request struct {
	_      struct{} `cbor:",toarray"`
	Record []byte
	// Opening, Deliveries and Invitation go with the organization's records.
	Opening    []byte
	Deliveries []Sealed
	Invitation id.Token
	// Grants are of Generation, and go with a workspace's records.
	Grants     []Sealed
	Generation uint64
	// Commit says that the record is a commit; Manifests and Blocks go with it.
	Commit    bool
	Manifests [][]byte
	Blocks    []id.Block
}

// Sealed is a key as sealed to a device, a user or a sequester service.
type Sealed struct {
	_     struct{} `cbor:",toarray"`
	To    [id.Size]byte
	Bytes []byte
}

// Send keeps a request of a log, the zero workspace's being the
// organization's, sends it, and returns the position behind its record. Only
// an answer ends the keeping: when the server cannot be reached, the request
// waits for the next [Session.Sync]. accepted, if it is not nil, remembers
// what follows from the position, in the update that ends the keeping.
func (s *Session) Send(ctx context.Context, log id.Workspace, r Request,
	accepted func(*store.StateTx, record.Position) error,
) (at record.Position, err error) {
	err = s.Exclusive(ctx, func(ctx context.Context) error {
		at, err = s.send(ctx, log, r, accepted)
		return err
	})
	return at, err
}

func (s *Session) send(ctx context.Context, log id.Workspace, r Request,
	accepted func(*store.StateTx, record.Position) error,
) (record.Position, error) {
	p := store.Pending{Workspace: log, Digest: sha256.Sum256(r.Record), Request: canon.Marshal(r)}
	err := s.local.State.Update(ctx, func(tx *store.StateTx) (err error) {
		p.Number, err = tx.Queue(p)
		return err
	})
	if err != nil {
		return record.Position{}, err
	}
	return s.resend(ctx, p, r, accepted)
}

func (s *Session) resend(ctx context.Context, p store.Pending, r Request,
	accepted func(*store.StateTx, record.Position) error,
) (record.Position, error) {
	at, err := s.transmit(ctx, p.Workspace, r)
	if err != nil && !answered(err) {
		s.settled = false
		return at, err
	}
	settling := s.local.State.Update(ctx, func(tx *store.StateTx) error {
		if err == nil && accepted != nil {
			if err := accepted(tx, at); err != nil {
				return err
			}
		}
		return tx.Settle(p.Number)
	})
	if settling != nil { // it is asked again: the answer will be the same
		s.settled = false
		err = errors.Join(err, settling)
	}
	return at, err
}

func (s *Session) transmit(ctx context.Context, log id.Workspace, r Request) (record.Position, error) {
	switch {
	case log.IsZero():
		o := remote.OrganizationRecord{Record: r.Record, Opening: r.Opening, Invitation: r.Invitation}
		for _, d := range r.Deliveries {
			o.Deliveries = append(o.Deliveries, remote.Delivery{Device: d.To, Sealed: d.Bytes})
		}
		return s.server.AppendOrganization(ctx, o)
	case r.Commit:
		return s.server.Commit(ctx, log, remote.Commit{Record: r.Record, Manifests: r.Manifests, Blocks: r.Blocks})
	}
	var grants []remote.Grant
	for _, g := range r.Grants {
		grants = append(grants, remote.Grant{Recipient: g.To, Generation: r.Generation, Sealed: g.Bytes})
	}
	return s.server.AppendWorkspace(ctx, log, r.Record, grants)
}

// answered reports whether an error is the server's decision about a request,
// rather than the lack of one.
func answered(err error) bool {
	switch fault.KindOf(err) {
	case fault.Stale, fault.Denied, fault.Invalid, fault.Missing, fault.Conflict, fault.NotFound, fault.TooLarge,
		fault.Full, fault.Frozen, fault.Clock, fault.Upgrade:
		return true
	}
	return false
}

// Settle sends again what an earlier process, or an earlier attempt, left
// without an answer. A refusal settles it too: the work behind it is done
// anew, on what the log holds by then. Nothing new is signed before.
func (s *Session) Settle(ctx context.Context) error { return s.Exclusive(ctx, s.settle) }

func (s *Session) settle(ctx context.Context) error {
	if s.settled {
		return nil
	}
	var waiting []store.Pending
	for p, err := range s.local.State.Outbox(ctx) {
		if err != nil {
			return err
		}
		waiting = append(waiting, p)
	}
	for _, p := range waiting {
		var r Request
		if err := canon.Unmarshal(p.Request, &r); err != nil {
			return fmt.Errorf("read kept request: %w", err)
		}
		if _, err := s.resend(ctx, p, r, nil); err != nil && !answered(err) {
			return err
		}
	}
	s.settled = true
	if len(waiting) > 0 {
		return s.PullOrganization(ctx)
	}
	return nil
}
