package organization

import (
	"context"
	"crypto/sha256"
	"errors"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
	"parsec/internal/verify"
)

// maxDelivery is the longest sealed private key: its HPKE encapsulation and
// ciphertext, with room to spare.
const maxDelivery = 4 << 10

// Addition is a record and what comes beside it.
type Addition struct {
	Record []byte
	// Opening is the encoded opening of an added user.
	Opening []byte
	// Deliveries are those of a replaced user key.
	Deliveries []Delivery
	// Invitation is the token of the invitation that the record fulfils; zero for none.
	Invitation id.Token
}

// Delivery is a private key as sealed to a device.
type Delivery struct {
	Device id.Device
	Sealed []byte
}

// Append appends the caller's record. For one that the log holds already it
// returns the original position.
func (s *Service) Append(ctx context.Context, c call.Caller, a Addition) (record.Position, error) {
	signed, err := s.authenticate(ctx, c, a.Record)
	if err != nil {
		return record.Position{}, err
	}
	var out appended
	err = s.store.Write(ctx, func(tx meta.Tx) error {
		out = appended{}
		return s.append(tx, c, a, signed, &out)
	})
	if err != nil {
		return record.Position{}, s.refuse(ctx, c, signed.Record, err)
	}
	if out.state != nil {
		s.keep.OrganizationMoved(c.Key, out.state)
		s.hub.Publish(events.Topic{Organization: c.Organization, Kind: events.Organization}, out.position.Index)
	}
	return out.position, nil
}

// appended is what a transaction hands out.
type appended struct {
	position record.Position
	// state is that behind the record; nil for a record that was there already.
	state *verify.Organization
}

// authenticate checks what needs no lock: the record's form, its signature,
// and that it is the caller's. The sequester authority has no device, so any
// caller may bring its records.
func (s *Service) authenticate(ctx context.Context, c call.Caller, raw []byte) (signed *verify.Signed, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		signed, err = verify.Authenticate(o.State, raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	if author := signed.Record.Author; author != c.Device && !author.IsZero() {
		return nil, fault.Errorf(fault.Denied, "%s record of device %s, brought by %s", signed.Record.Kind, author, c.Device)
	}
	return signed, nil
}

func (s *Service) append(tx meta.Tx, c call.Caller, a Addition, signed *verify.Signed, out *appended) error {
	o, err := s.keep.LockCaller(tx, c, meta.Exclusive)
	if err != nil {
		return err
	}
	r := signed.Record
	if out.position, err = tx.Logs().Find(c.Key.Log(), r.Digest); err != nil || out.position.Index > 0 {
		return err
	}
	if err := s.checkClock(r); err != nil {
		return err
	}
	if o.State.Position() != o.Row.Position {
		return fault.Errorf(fault.Failed, "organization %s: its row is behind its log", c.Organization)
	}
	state := o.State.Clone()
	step, err := state.Append(r.Raw)
	if err != nil {
		return err
	}
	if err := s.apply(tx, c, o, a, signed); err != nil {
		return err
	}
	o.Row.Position, o.Row.Updated = step.Position, s.now().UnixNano()
	if err := tx.Organizations().Update(o.Row); err != nil {
		return err
	}
	out.position, out.state = step.Position, state
	return tx.Logs().Append(c.Key.Log(), []meta.Record{{Position: step.Position, Digest: r.Digest, Raw: r.Raw}})
}

// apply checks and writes what the server keeps beside the record.
func (s *Service) apply(tx meta.Tx, c call.Caller, o access.Organization, a Addition, signed *verify.Signed) error {
	payload := signed.Payload
	if err := needs(a, payload); err != nil {
		return err
	}
	switch p := payload.(type) {
	case record.UserAdded:
		return s.addUser(tx, c, o, a, p)
	case record.DeviceAdded:
		return s.fulfil(tx, c, a.Invitation, func(i invitation.Signed) bool {
			return i.Type == invitation.ForDevice && i.User == signed.User
		})
	case record.ProfileChanged:
		return checkOutsider(o, p.Profile)
	case record.UserRevoked:
		return tx.Users().Revoke(c.Key, p.User, s.now().UnixNano())
	case record.DeviceRevoked:
		for _, r := range p.Replacement {
			return deliver(tx, c, r, a.Deliveries)
		}
	case record.UserKeyReplaced:
		return deliver(tx, c, p.Replacement, a.Deliveries)
	}
	return nil
}

// needs refuses what came beside a record that has no use for it.
func needs(a Addition, payload record.Payload) error {
	var opening, deliveries, invited bool
	switch p := payload.(type) {
	case record.UserAdded:
		opening, invited = true, true
	case record.DeviceAdded:
		invited = true
	case record.DeviceRevoked:
		deliveries = len(p.Replacement) > 0
	case record.UserKeyReplaced:
		deliveries = true
	}
	if !opening && len(a.Opening) > 0 || !deliveries && len(a.Deliveries) > 0 || !invited && !a.Invitation.IsZero() {
		return fault.Errorf(fault.Invalid, "%s record with something beside it that does not belong to it", payload.Kind())
	}
	return nil
}

func (s *Service) addUser(tx meta.Tx, c call.Caller, o access.Organization, a Addition, p record.UserAdded) error {
	user, err := checkOpening(a.Opening, c.Organization, p.New)
	if err != nil {
		return err
	}
	if err := checkOutsider(o, p.Profile); err != nil {
		return err
	}
	if most := o.Row.Limits.ActiveUsers; most > 0 {
		stats, err := tx.Organizations().Stats(c.Key)
		if err != nil {
			return err
		}
		if stats.ActiveUsers >= most {
			return fault.WithHint(fault.Errorf(fault.Full, "the organization has %d active users, and may have %d", stats.ActiveUsers, most),
				"revoke a user, or ask the operator of the server for more")
		}
	}
	if err := tx.Users().Add(c.Key, user); err != nil {
		if fault.Is(err, fault.Conflict) {
			return fault.WithHint(fault.Errorf(fault.Conflict, "the e-mail address belongs to another user"), "revoke that user first")
		}
		return err
	}
	return s.fulfil(tx, c, a.Invitation, func(i invitation.Signed) bool {
		return i.Type == invitation.ForUser && i.Email == user.Email && i.Profile == p.Profile
	})
}

func checkOutsider(o access.Organization, p record.Profile) error {
	if p == record.ProfileOutsider && !o.Row.Limits.Outsiders {
		return fault.WithHint(fault.Errorf(fault.Denied, "the organization may not have outsiders"), "choose another profile, or ask the operator of the server")
	}
	return nil
}

// fulfil marks the invitation used that a record fulfils, if it names one.
func (s *Service) fulfil(tx meta.Tx, c call.Caller, token id.Token, fits func(invitation.Signed) bool) error {
	if token.IsZero() {
		return nil
	}
	key := meta.Token(sha256.Sum256(token[:]))
	row, err := tx.Invitations().Lock(c.Key, key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || row.State != meta.InvitationPending || row.Expires <= s.now().UnixNano() {
		return fault.WithHint(fault.Errorf(fault.NotFound, "the invitation is unknown, used, cancelled or expired"), "invite again")
	}
	statement, err := invitation.Parse(row.Statement)
	if err != nil {
		return err
	}
	if !fits(statement) {
		return fault.Errorf(fault.Invalid, "the record does not do what the invitation says")
	}
	return tx.Invitations().SetState(c.Key, key, meta.InvitationUsed)
}

// checkOpening returns the row of a user whose record commits to this opening.
func checkOpening(encoded []byte, organization [32]byte, n record.NewUser) (meta.User, error) {
	var o record.Opening
	if err := canon.Unmarshal(encoded, &o); err != nil {
		return meta.User{}, fault.Errorf(fault.Invalid, "read opening: %w", err)
	}
	if err := o.Check(); err != nil {
		return meta.User{}, err
	}
	if o.User != n.User || o.Commit(organization) != n.Identity {
		return meta.User{}, fault.Errorf(fault.Invalid, "the opening is not what the record commits to")
	}
	return meta.User{ID: n.User, Email: o.Email, Opening: encoded}, nil
}

// deliver keeps a replaced key as sealed to each device, if it is exactly
// what the record commits to.
func deliver(tx meta.Tx, c call.Caller, r record.Replacement, deliveries []Delivery) error {
	sealed := make(map[id.Device][]byte, len(deliveries))
	for _, d := range deliveries {
		sealed[d.Device] = d.Sealed
	}
	if len(sealed) != len(deliveries) || len(sealed) != len(r.Deliveries) {
		return fault.Errorf(fault.Invalid, "%d deliveries beside a record of %d", len(deliveries), len(r.Deliveries))
	}
	rows := make([]meta.Delivery, len(r.Deliveries))
	for i, d := range r.Deliveries {
		got := sealed[d.Device]
		if len(got) > maxDelivery || sha256.Sum256(got) != d.Sealed {
			return fault.Errorf(fault.Invalid, "the delivery for device %s is not what the record commits to", d.Device)
		}
		rows[i] = meta.Delivery{Device: d.Device, Key: r.Key.Digest(), Sealed: got}
	}
	return tx.Users().Deliver(c.Key, rows)
}

// refuse completes the refusal of a stale record with what the author needs.
func (s *Service) refuse(ctx context.Context, c call.Caller, r *record.Record, cause error) error {
	var v *verify.Violation
	if !errors.As(cause, &v) || !fault.Is(cause, fault.Stale) {
		return cause
	}
	stale := &call.Stale{Err: cause}
	err := s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		stale.Position, stale.Organization = o.Row.Position, o.Row.Position
		records, err := tx.Logs().Since(c.Key.Log(), r.Seen.Organization.Index, pageSize)
		stale.Records = raws(records)
		return err
	})
	if err != nil {
		return err
	}
	return stale
}
