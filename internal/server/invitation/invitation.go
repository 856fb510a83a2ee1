// Package invitation is the service of invitations, and of the mailbox through
// which the two sides of an enrollment speak. It keeps and passes on; that the
// messages are what they should be, and that nobody stands in between, is for
// the two sides to find out, who do not trust it.
//
// A mailbox holds one message for each step of an attempt, as long as the
// invitation is kept, which is beyond the time at which it expires. An
// attempt that either side ended, or in which a step was given two different
// messages, is over, and both sides are told.
package invitation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
)

const (
	// maxPending is how many open invitations a user may have.
	maxPending = 1000
	// maxLife is how long an invitation may be valid.
	maxLife = 366 * 24 * time.Hour
)

// Hub passes on that a mailbox has something new.
type Hub interface {
	Publish(t events.Topic, index uint64)
	Subscribe() *events.Subscription
}

// Service serves invitations. It is safe for concurrent use.
type Service struct {
	store meta.Store
	keep  *access.Keeper
	hub   Hub
	now   func() time.Time
	// mailer sends links to publicURL; nil where no mails are sent.
	mailer    Mailer
	publicURL string
}

// New returns the service over a store.
func New(store meta.Store, keep *access.Keeper, hub Hub, now func() time.Time) *Service {
	return &Service{store: store, keep: keep, hub: hub, now: now}
}

func digest(t id.Token) meta.Token { return sha256.Sum256(t[:]) }

// Create keeps an invitation that the caller signed. The same again is no failure.
func (s *Service) Create(ctx context.Context, c call.Caller, raw []byte) error {
	i, err := invitation.Parse(raw)
	if err != nil {
		return err
	}
	row := meta.Invitation{
		Token: digest(i.Token), Inviter: c.User, State: meta.InvitationPending,
		Created: i.Created, Expires: i.Expires, Statement: raw,
	}
	return s.store.Write(ctx, func(tx meta.Tx) error {
		o, err := s.keep.LockCaller(tx, c, meta.Shared)
		if err != nil {
			return err
		}
		if err := s.check(o, c, i); err != nil {
			return err
		}
		if known, err := tx.Invitations().Lock(c.Key, row.Token); err == nil {
			if known.State == meta.InvitationPending && bytes.Equal(known.Statement, raw) {
				return nil
			}
			return fault.Errorf(fault.Conflict, "the invitation's token was used before")
		} else if !fault.Is(err, fault.NotFound) {
			return err
		}
		if err := s.checkRoom(tx, c, i); err != nil {
			return err
		}
		return tx.Invitations().Create(c.Key, row)
	})
}

// check holds a statement to the caller's rights.
func (s *Service) check(o access.Organization, c call.Caller, i invitation.Signed) error {
	device, _ := o.State.Device(c.Device)
	now := s.now()
	switch {
	case i.Organization != c.Organization || i.Author != c.Device || !i.Check(device.Verify):
		return fault.Errorf(fault.Denied, "the invitation is not signed by the device that brings it")
	case i.Type == invitation.ForUser && o.Profile(c) != record.ProfileAdmin:
		return fault.WithHint(fault.Errorf(fault.Denied, "only an administrator may invite users"), "ask an administrator")
	case i.Type == invitation.ForDevice && i.User != c.User:
		return fault.Errorf(fault.Denied, "a device may be invited for one's own user only")
	case i.Profile == record.ProfileOutsider && !o.Row.Limits.Outsiders:
		return fault.WithHint(fault.Errorf(fault.Denied, "the organization may not have outsiders"), "choose another profile, or ask the operator of the server")
	case i.Expired(now) || i.Expires > now.Add(maxLife).UnixNano():
		return fault.WithHint(fault.Errorf(fault.Invalid, "the invitation expires at %s", time.Unix(0, i.Expires).UTC().Format(time.RFC3339)),
			"choose a time within a year, and check the clock of this computer")
	}
	return nil
}

// checkRoom refuses an address in use, and an invitation too many.
func (s *Service) checkRoom(tx meta.Tx, c call.Caller, i invitation.Signed) error {
	if i.Type == invitation.ForUser {
		_, err := tx.Users().ByEmail(c.Key, i.Email)
		if err == nil {
			return fault.WithHint(fault.Errorf(fault.Conflict, "the e-mail address belongs to a user of the organization"), "`parsec user list` names them")
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	pending, err := tx.Invitations().Pending(c.Key, c.User, meta.Invitation{}, maxPending)
	if err != nil {
		return err
	}
	if len(pending) >= maxPending {
		return fault.WithHint(fault.Errorf(fault.Full, "%d invitations are open, as many as a user may have", len(pending)), "cancel some")
	}
	return nil
}

// List returns the open invitations of the caller's user, oldest first.
func (s *Service) List(ctx context.Context, c call.Caller) (statements [][]byte, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		if _, err := s.keep.Caller(tx, c); err != nil {
			return err
		}
		pending, err := tx.Invitations().Pending(c.Key, c.User, meta.Invitation{}, maxPending)
		statements = nil
		for _, i := range pending {
			if i.Expires > s.now().UnixNano() {
				statements = append(statements, i.Statement)
			}
		}
		return err
	})
	return statements, err
}

// Cancel cancels an open invitation of the caller's user, or any for an
// administrator. Cancelling again is no failure.
func (s *Service) Cancel(ctx context.Context, c call.Caller, token id.Token) error {
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		o, err := s.keep.LockCaller(tx, c, meta.Shared)
		if err != nil {
			return err
		}
		row, err := s.lock(tx, c.Key, token)
		if err != nil {
			return err
		}
		switch {
		case row.Inviter != c.User && o.Profile(c) != record.ProfileAdmin, row.State == meta.InvitationUsed:
			return errUnknown()
		case row.State == meta.InvitationCancelled:
			return nil
		}
		return tx.Invitations().SetState(c.Key, row.Token, meta.InvitationCancelled)
	})
	if err == nil {
		s.hub.Publish(mailbox(c.Organization, token), 0)
	}
	return err
}

// lock returns the locked row of an invitation.
func (s *Service) lock(tx meta.Tx, key meta.OrganizationKey, token id.Token) (meta.Invitation, error) {
	row, err := tx.Invitations().Lock(key, digest(token))
	if fault.Is(err, fault.NotFound) {
		err = errUnknown()
	}
	return row, err
}

func errUnknown() error {
	return fault.WithHint(fault.Errorf(fault.NotFound, "the invitation is unknown, used, cancelled or expired"), "ask for a new one")
}

// Get returns an open invitation and the inviter's opening, for whoever holds
// the token.
func (s *Service) Get(ctx context.Context, f id.Fingerprint, token id.Token) (statement, inviter []byte, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.open(tx, f)
		if err != nil {
			return err
		}
		row, err := s.lock(tx, o.Row.Key, token)
		if err != nil {
			return err
		}
		if u, ok := o.State.User(row.Inviter); !ok || !u.ActiveAt(o.Present()) || row.State != meta.InvitationPending || s.expired(row) {
			return errUnknown()
		}
		users, err := tx.Users().Get(o.Row.Key, []id.User{row.Inviter})
		if err != nil {
			return err
		}
		statement, inviter = row.Statement, users[0].Opening
		return nil
	})
	return statement, inviter, err
}

// open returns the organization; whether it exists is not told to strangers.
func (s *Service) open(tx meta.Tx, f id.Fingerprint) (access.Organization, error) {
	o, err := s.keep.Open(tx, f)
	if fault.Is(err, fault.NotFound) {
		err = errUnknown()
	}
	return o, err
}

func (s *Service) expired(row meta.Invitation) bool { return row.Expires <= s.now().UnixNano() }

// mailbox names a mailbox by what the store knows it by, since hints pass
// through the database: the token itself opens the mailbox.
func mailbox(f id.Fingerprint, token id.Token) events.Topic {
	d := digest(token)
	return events.Topic{Organization: f, Kind: events.Mailbox, ID: [id.Size]byte(d[:id.Size])}
}
