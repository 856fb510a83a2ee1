package invitation

import (
	"bytes"
	"context"
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

// The bounds of a mailbox.
const (
	// MaxMessage is the longest message.
	MaxMessage = 64 << 10
	// maxStep is the last step of an attempt; the exchange has about ten.
	maxStep = 32
	// maxAttempts is how many attempts one invitation may have. Both sides give
	// up after five, but each may be started over on other devices.
	maxAttempts = 64
)

// Turn is one turn of one side: it leaves a message for a step, or waits for
// the one that the other side leaves there.
type Turn struct {
	Token id.Token
	// Attempt is zero for a claimer who asks for the newest one.
	Attempt meta.Attempt
	Step    uint32
	// Message is what to leave; empty to wait.
	Message []byte
	// Abort ends the attempt.
	Abort bool
}

// Reply answers a turn.
type Reply struct {
	// Attempt is zero where there is none yet.
	Attempt meta.Attempt
	// Message is empty when none came in time, and where one was left.
	Message []byte
}

// Greet takes the greeter's turn, which opens an attempt that is new.
func (s *Service) Greet(ctx context.Context, c call.Caller, t Turn, wait time.Duration) (Reply, error) {
	if t.Attempt == (meta.Attempt{}) {
		return Reply{}, fault.Errorf(fault.Invalid, "greet without an attempt")
	}
	return s.exchange(ctx, c.Organization, c.User, t, wait, func(tx meta.Tx) (box, error) {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return box{}, err
		}
		b, err := s.box(tx, o, t.Token)
		if err != nil {
			return b, err
		}
		return b, s.greeter(o, c, b)
	})
}

// greeter fails unless the caller may greet: a device of the inviter's user,
// or of an administrator where a user is invited.
func (s *Service) greeter(o access.Organization, c call.Caller, b box) error {
	if b.row.Inviter == c.User {
		return nil
	}
	i, err := invitation.Parse(b.row.Statement)
	if err != nil {
		return err
	}
	if i.Type != invitation.ForUser || o.Profile(c) != record.ProfileAdmin {
		return errUnknown()
	}
	return nil
}

// Claim takes the claimer's turn.
func (s *Service) Claim(ctx context.Context, f id.Fingerprint, t Turn, wait time.Duration) (Reply, error) {
	return s.exchange(ctx, f, id.User{}, t, wait, func(tx meta.Tx) (box, error) {
		o, err := s.open(tx, f)
		if err != nil {
			return box{}, err
		}
		b, err := s.box(tx, o, t.Token)
		b.claimer = true
		return b, err
	})
}

// box is a mailbox in one transaction.
type box struct {
	tx       meta.Tx
	key      meta.OrganizationKey
	row      meta.Invitation
	attempts []meta.AttemptState
	claimer  bool
	// fresh says that new attempts may be opened.
	fresh bool
}

// box returns the mailbox of an invitation. Attempts that are under way go on
// when the invitation is used, since its last messages follow the record that
// uses it, or expires; no new ones begin then.
func (s *Service) box(tx meta.Tx, o access.Organization, token id.Token) (box, error) {
	row, err := s.lock(tx, o.Row.Key, token)
	if err != nil {
		return box{}, err
	}
	attempts, err := tx.Invitations().Attempts(o.Row.Key, row.Token)
	if err != nil {
		return box{}, err
	}
	b := box{tx: tx, key: o.Row.Key, row: row, attempts: attempts}
	b.fresh = row.State == meta.InvitationPending && !s.expired(row)
	if row.State == meta.InvitationCancelled || !b.fresh && len(attempts) == 0 {
		return b, errUnknown()
	}
	return b, nil
}

// exchange takes a turn, and waits where it has to. The user is zero for a claimer.
func (s *Service) exchange(ctx context.Context, f id.Fingerprint, user id.User, t Turn, wait time.Duration, open func(meta.Tx) (box, error)) (Reply, error) {
	if len(t.Message) > MaxMessage || t.Step > maxStep {
		return Reply{}, fault.Errorf(fault.TooLarge, "a message of %d bytes for step %d", len(t.Message), t.Step)
	}
	sub := s.hub.Subscribe()
	defer sub.Close()
	sub.Watch( // before looking, so that nothing falls in between
		mailbox(f, t.Token), events.Topic{Organization: f, Kind: events.Access}, events.Topic{Organization: f, Kind: events.Access, ID: user},
	)
	if writes := len(t.Message) > 0 || t.Abort; writes {
		return s.leave(ctx, f, t, open)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		reply, done, err := s.look(ctx, f, t, open)
		if err != nil || done {
			return reply, err
		}
		if _, err := sub.Next(waiting); err != nil {
			return reply, ctx.Err()
		}
	}
}

// look reads what the turn waits for, and opens a greeter's new attempt. A
// claimer without an attempt waits for that alone.
func (s *Service) look(ctx context.Context, f id.Fingerprint, t Turn, open func(meta.Tx) (box, error)) (reply Reply, done bool, err error) {
	var opens bool
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		b, err := open(tx)
		if err != nil {
			return err
		}
		attempt, err := b.find(t.Attempt)
		if opens = !b.claimer && fault.Is(err, fault.NotFound); opens {
			return nil
		}
		if err != nil || attempt == (meta.Attempt{}) {
			return err
		}
		reply.Attempt = attempt
		reply.Message, err = b.message(attempt, t.Step)
		done = len(reply.Message) > 0 || t.Attempt == (meta.Attempt{})
		return err
	})
	if err == nil && opens {
		reply, err = s.leave(ctx, f, t, open)
	}
	return reply, done, err
}

// find returns the attempt of a turn if it goes on; of a claimer without one
// the newest that does, or none.
func (b box) find(wanted meta.Attempt) (meta.Attempt, error) {
	if wanted == (meta.Attempt{}) {
		if n := len(b.attempts); n > 0 && !b.attempts[n-1].Aborted {
			return b.attempts[n-1].Attempt, nil
		}
		return wanted, nil
	}
	for _, a := range b.attempts {
		if a.Attempt == wanted && a.Aborted {
			return wanted, errOver()
		}
		if a.Attempt == wanted {
			return wanted, nil
		}
	}
	return wanted, fault.Errorf(fault.NotFound, "there is no such attempt at this invitation")
}

func errOver() error {
	return fault.WithHint(fault.Errorf(fault.Conflict, "the attempt was ended by one of both sides, or somebody is in between"),
		"start again on both sides; do not go on if the codes did not match")
}

func (b box) message(a meta.Attempt, step uint32) ([]byte, error) {
	m, err := b.tx.Invitations().Message(b.key, b.row.Token, a, step)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return m, err
}

// leave writes what a turn leaves: a message, the end of the attempt, or for a
// greeter with neither the beginning of a new one.
func (s *Service) leave(ctx context.Context, f id.Fingerprint, t Turn, open func(meta.Tx) (box, error)) (Reply, error) {
	var reply Reply
	var over error
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		reply, over = Reply{}, nil
		b, err := open(tx)
		if err != nil {
			return err
		}
		reply.Attempt, err = b.begin(t.Attempt)
		if t.Abort && fault.Is(err, fault.Conflict) { // over already
			return nil
		}
		if err != nil {
			return err
		}
		if t.Abort {
			return b.set(reply.Attempt, true)
		}
		if len(t.Message) == 0 {
			return nil
		}
		there, err := b.message(reply.Attempt, t.Step)
		switch {
		case err != nil || bytes.Equal(there, t.Message):
			return err
		case len(there) > 0: // written although it is refused: both sides have to see it
			over = errOver()
			return b.set(reply.Attempt, true)
		}
		return tx.Invitations().Leave(b.key, b.row.Token, reply.Attempt, t.Step, t.Message)
	})
	if err != nil {
		return Reply{}, err
	}
	s.hub.Publish(mailbox(f, t.Token), 0)
	return reply, over
}

// begin returns the attempt of a turn that writes, which for a greeter may be
// a new one: it ends those before.
func (b box) begin(wanted meta.Attempt) (meta.Attempt, error) {
	attempt, err := b.find(wanted)
	switch {
	case err == nil && attempt == (meta.Attempt{}):
		return attempt, fault.Errorf(fault.NotFound, "there is no attempt at this invitation yet")
	case err == nil || b.claimer || !fault.Is(err, fault.NotFound):
		return attempt, err
	case !b.fresh:
		return attempt, errUnknown()
	case len(b.attempts) >= maxAttempts:
		return attempt, fault.WithHint(fault.Errorf(fault.Full, "there were %d attempts at this invitation", len(b.attempts)), "invite again")
	}
	for _, a := range b.attempts {
		if !a.Aborted {
			if err := b.set(a.Attempt, true); err != nil {
				return attempt, err
			}
		}
	}
	return attempt, b.set(attempt, false)
}

func (b box) set(a meta.Attempt, aborted bool) error {
	return b.tx.Invitations().SetAttempt(b.key, b.row.Token, meta.AttemptState{Attempt: a, Aborted: aborted})
}
