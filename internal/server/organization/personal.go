package organization

import (
	"bytes"
	"context"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
)

// UserManifest returns the newest manifest of the caller's user.
func (s *Service) UserManifest(ctx context.Context, c call.Caller) (manifest []byte, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		if _, err := s.keep.Caller(tx, c); err != nil {
			return err
		}
		_, manifest, err = tx.Users().Manifest(c.Key, c.User)
		return err
	})
	return manifest, err
}

// PutUserManifest stores the next manifest of the caller's user. It fails with
// [fault.Stale] where another device was first; the same again is no failure.
func (s *Service) PutUserManifest(ctx context.Context, c call.Caller, raw []byte) error {
	m, err := usermanifest.Parse(raw)
	if err != nil {
		return err
	}
	return s.store.Write(ctx, func(tx meta.Tx) error {
		o, err := s.keep.LockCaller(tx, c, meta.Shared)
		if err != nil {
			return err
		}
		if err := checkUserManifest(o, c, m); err != nil {
			return err
		}
		version, newest, err := tx.Users().Manifest(c.Key, c.User)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if version > 0 && bytes.Equal(newest, raw) {
			return nil
		}
		var previous [32]byte
		if version > 0 {
			previous = sha256.Sum256(newest)
		}
		if m.Version != version+1 || m.Previous != previous {
			return fault.Errorf(fault.Stale, "user manifest %d does not follow version %d on the server", m.Version, version)
		}
		return tx.Users().PutManifest(c.Key, c.User, m.Version, raw)
	})
}

func checkUserManifest(o access.Organization, c call.Caller, m usermanifest.Signed) error {
	device, _ := o.State.Device(c.Device)
	key, ok := o.State.KeyAt(c.User, o.Present())
	switch {
	case m.Author != c.Device || m.User != c.User || !m.Check(c.Organization, device.Verify):
		return fault.Errorf(fault.Denied, "the user manifest is not signed by the device that brings it, for its user")
	case !o.State.Contains(m.Organization):
		return fault.Errorf(fault.Invalid, "the user manifest has seen another organization log at index %d", m.Organization.Index)
	case !ok:
		return fault.Errorf(fault.Stale, "the user's key awaits replacement")
	case m.Key != key.Digest():
		return fault.Errorf(fault.Stale, "the user manifest is sealed to a key that was replaced")
	}
	return nil
}

// KeyDelivery returns the private half of a replaced user key as sealed to
// the caller's device.
func (s *Service) KeyDelivery(ctx context.Context, c call.Caller, key record.Digest) (sealed []byte, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		if _, err := s.keep.Caller(tx, c); err != nil {
			return err
		}
		d, err := tx.Users().Delivery(c.Key, c.Device, key)
		sealed = d.Sealed
		return err
	})
	return sealed, err
}

// Usage returns how many bytes the caller's organization has stored, and how
// many it may; 0 for any. It costs the same whatever is stored.
func (s *Service) Usage(ctx context.Context, c call.Caller) (used, limit uint64, err error) {
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		stats, err := tx.Organizations().Stats(o.Row.Key)
		used, limit = stats.BlockBytes+stats.ManifestBytes, o.Row.Limits.Storage
		return err
	})
	return used, limit, err
}
