package session

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
	"parsec/internal/verify"
)

// PromiseManifest is that no user manifest is withheld, replaced or made up.
const PromiseManifest = "authentic user manifest"

// manifestState is the newest user manifest that was accepted or written.
type manifestState struct {
	envelope usermanifest.Envelope
	digest   [32]byte
	content  usermanifest.Content
	// moved says that content holds something that no version told yet.
	moved bool
}

func (s *Session) restoreManifest(ctx context.Context) error {
	s.rememberEnrolled()
	kept, found, err := s.local.State.UserManifest(ctx)
	if err != nil || !found {
		return err
	}
	signed, err := usermanifest.Parse(kept.Raw)
	if err != nil {
		return err
	}
	return s.adoptManifest(signed)
}

// adoptManifest takes up a user manifest whose signature was checked.
func (s *Session) adoptManifest(signed usermanifest.Signed) error {
	key, ok := s.device.UserKey(signed.Key)
	if !ok {
		return fault.Broken(PromiseManifest, "the user manifest is sealed to a key that this device does not have")
	}
	content, err := seal.OpenUserManifest(s.device.Organization, signed.Envelope, key)
	if err != nil {
		return err
	}
	s.setManifest(manifestState{envelope: signed.Envelope, digest: signed.Digest, content: content})
	s.rememberEnrolled()
	return nil
}

// setManifest replaces the manifest; who holds the session exclusively calls it.
func (s *Session) setManifest(m manifestState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest = m
}

// rememberEnrolled holds on to what the greeter of this device had verified:
// a user manifest that was written before does not tell all of it.
func (s *Session) rememberEnrolled() {
	for _, w := range s.device.Enrolled.Workspaces {
		s.Verified(w.Workspace, w.Head, w.Organization)
	}
}

// pullManifest accepts the newest user manifest of the user's devices, if it
// is none but theirs and not older than what is remembered.
func (s *Session) pullManifest(ctx context.Context) error {
	raw, err := s.server.GetUserManifest(ctx)
	if fault.Is(err, fault.NotFound) {
		return s.checkManifestVersion(0, [32]byte{})
	}
	if err != nil {
		return err
	}
	signed, err := usermanifest.Parse(raw)
	if err != nil {
		return fault.Broken(PromiseManifest, "%w", err)
	}
	if err := s.checkManifestVersion(signed.Version, signed.Digest); err != nil {
		return err
	}
	if signed.Digest == s.manifest.digest {
		return nil
	}
	if err := s.checkManifest(signed); err != nil {
		return err
	}
	if err := s.adoptManifest(signed); err != nil {
		return err
	}
	return s.local.State.Update(ctx, func(tx *store.StateTx) error {
		return tx.PutUserManifest(store.UserManifest{Version: signed.Version, Digest: signed.Digest, Raw: raw})
	})
}

// checkManifestVersion refuses a user manifest that is older than what this
// device remembers or was told at enrollment, or another one of that version.
func (s *Session) checkManifestVersion(version uint64, digest [32]byte) error {
	known := usermanifest.Pin{Version: s.manifest.envelope.Version, Digest: s.manifest.digest}
	if pin := s.device.Enrolled.UserManifest; pin.Version > known.Version {
		known = pin
	}
	if version < known.Version {
		return fault.Broken(PromiseNoRollback, "the server has version %d of the user manifest, but this device knows version %d", version, known.Version)
	}
	if version == known.Version && digest != known.Digest {
		return fault.Broken(PromiseManifest, "the server has another version %d of the user manifest than this device knows", version)
	}
	return nil
}

func (s *Session) checkManifest(signed usermanifest.Signed) error {
	here := s.org.Load().Position().Index
	author, ok := s.org.Load().Device(signed.Author)
	switch {
	case !ok || author.User != s.device.User || signed.User != s.device.User || !signed.Check(s.device.Organization, author.Verify):
		return fault.Broken(PromiseManifest, "the user manifest is not signed by a device of this user")
	case !s.org.Load().ActiveAt(signed.Author, here):
		return fault.Broken(PromiseManifest, "the user manifest is signed by device %s, which was revoked", signed.Author)
	case signed.Organization.Index > here:
		return fault.Broken(verify.RuleKnown.String(), "another device of this user has verified the organization's log up to index %d, and the server gives it up to %d",
			signed.Organization.Index, here)
	case !s.org.Load().Contains(signed.Organization):
		return fault.Broken(PromiseOneHistory, "another device of this user has verified another organization log at index %d", signed.Organization.Index)
	}
	key, ok := s.org.Load().KeyAt(s.device.User, here)
	if !ok || key.Digest() != signed.Key {
		return fault.Broken(PromiseManifest, "the user manifest is not sealed to the user's current key")
	}
	return nil
}

// Known returns what the user's devices, or the greeter of this one, have
// verified of a workspace's log: a position through which it has to pass.
func (s *Session) Known(w id.Workspace) (usermanifest.Workspace, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := find(s.manifest.content.Workspaces, w)
	if !ok {
		return usermanifest.Workspace{}, false
	}
	return s.manifest.content.Workspaces[i], true
}

func find(list []usermanifest.Workspace, w id.Workspace) (int, bool) {
	return slices.BinarySearchFunc(list, w, func(m usermanifest.Workspace, w id.Workspace) int {
		return bytes.Compare(m.Workspace[:], w[:])
	})
}

// Verified notes how far a workspace's log is verified, for the user's other
// devices; organization is the index that was verified before asking for it.
func (s *Session) Verified(w id.Workspace, head record.Position, organization uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.manifest.content.Workspaces
	i, known := find(*list, w)
	now := usermanifest.Workspace{Workspace: w, Head: head, Organization: organization}
	switch {
	case !known:
		*list = slices.Insert(slices.Clone(*list), i, now)
		s.manifest.moved = true
	case (*list)[i].Head.Index < head.Index:
		*list = slices.Clone(*list)
		(*list)[i] = now
		s.manifest.moved = true
	}
}

// Label returns what the user calls one of the own devices.
func (s *Session) Label(d id.Device) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, known := range s.manifest.content.Devices {
		if known.Device == d {
			return known.Label
		}
	}
	if d == s.device.Device {
		return s.device.Label
	}
	return ""
}

// maxManifestTries bounds how often another device may be first.
const maxManifestTries = 5

// publishManifest writes the next user manifest if there is something to tell.
func (s *Session) publishManifest(ctx context.Context) error {
	s.nameOwnDevice()
	if !s.manifest.moved {
		return nil
	}
	for try := 0; ; try++ {
		err := s.putManifest(ctx)
		if !fault.Is(err, fault.Stale) || try == maxManifestTries {
			return err
		}
		if err := s.mergeManifest(ctx); err != nil {
			return err
		}
	}
}

func (s *Session) nameOwnDevice() {
	if s.org.Load().Position().Index == 0 || s.Label(s.device.Device) == s.device.Label && s.named() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest.content.Devices = slices.Clone(s.manifest.content.Devices)
	i, known := slices.BinarySearchFunc(s.manifest.content.Devices, s.device.Device, func(d usermanifest.Device, want id.Device) int {
		return bytes.Compare(d.Device[:], want[:])
	})
	own := usermanifest.Device{Device: s.device.Device, Label: s.device.Label}
	if known {
		s.manifest.content.Devices[i] = own
	} else {
		s.manifest.content.Devices = slices.Insert(s.manifest.content.Devices, i, own)
	}
	s.manifest.moved = true
}

func (s *Session) named() bool {
	return slices.ContainsFunc(s.manifest.content.Devices, func(d usermanifest.Device) bool { return d.Device == s.device.Device })
}

func (s *Session) putManifest(ctx context.Context) error {
	content := s.manifest.content
	envelope, err := seal.SealUserManifest(s.device.Organization, usermanifest.Envelope{
		User: s.device.User, Author: s.device.Device, Version: s.manifest.envelope.Version + 1,
		Previous: s.manifest.digest, Organization: s.org.Load().Position(),
	}, content, s.UserKey())
	if err != nil {
		return err
	}
	raw := usermanifest.Sign(envelope, s.device.Organization, s.device.Signing)
	if err := s.server.PutUserManifest(ctx, raw); err != nil {
		return err
	}
	signed, err := usermanifest.Parse(raw)
	if err != nil {
		return err
	}
	s.setManifest(manifestState{envelope: envelope, digest: signed.Digest, content: content})
	return s.local.State.Update(ctx, func(tx *store.StateTx) error {
		return tx.PutUserManifest(store.UserManifest{Version: signed.Version, Digest: signed.Digest, Raw: raw})
	})
}

// mergeManifest pulls the user manifest of a device that was first, and adds
// what this one knows beyond it.
func (s *Session) mergeManifest(ctx context.Context) error {
	mine := s.manifest
	if err := errors.Join(s.PullOrganization(ctx), s.pullManifest(ctx)); err != nil {
		return err
	}
	for _, w := range mine.content.Workspaces {
		s.Verified(w.Workspace, w.Head, w.Organization)
	}
	s.nameOwnDevice()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest.moved = true
	return nil
}
