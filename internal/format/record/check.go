package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"

	"parsec/internal/base/fault"
)

// Bounds of the texts that people choose, in bytes.
const (
	MaxOrganizationName = 128
	MaxEmail            = 254
	MaxPersonName       = 128
	maxSealedName       = 1024
)

// CheckText refuses a text that is empty, longer than limit bytes, not UTF-8,
// or that holds characters that do not print.
func CheckText(what, text string, limit int) error {
	switch {
	case text == "":
		return fault.Errorf(fault.Invalid, "%s is empty", what)
	case len(text) > limit:
		return fault.Errorf(fault.Invalid, "%s is longer than %d bytes", what, limit)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fault.Errorf(fault.Invalid, "%s holds characters that do not print", what)
	}
	return nil
}

// Check refuses an opening whose texts are out of bounds.
func (o Opening) Check() error {
	if err := CheckText("the name", o.Name, MaxPersonName); err != nil {
		return err
	}
	return CheckEmail(o.Email)
}

// CheckEmail refuses what is not an e-mail address.
func CheckEmail(email string) error {
	if err := CheckText("the e-mail address", email, MaxEmail); err != nil {
		return err
	}
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(email, " <>\"") || strings.Contains(domain, "@") {
		return fault.Errorf(fault.Invalid, "%q is not an e-mail address", email)
	}
	return nil
}

func (p Genesis) check() error {
	if len(p.Root) != ed25519.PublicKeySize {
		return fault.Errorf(fault.Invalid, "a root key of %d bytes", len(p.Root))
	}
	if n := len(p.Sequester); n != 0 && n != ed25519.PublicKeySize {
		return fault.Errorf(fault.Invalid, "a sequester authority's key of %d bytes", n)
	}
	if err := CheckText("the organization's name", p.Name, MaxOrganizationName); err != nil {
		return err
	}
	return p.First.check()
}

func (p UserAdded) check() error {
	if err := p.Profile.check(); err != nil {
		return err
	}
	return p.New.check()
}

func (p Profile) check() error {
	if p < ProfileOutsider || p > ProfileAdmin {
		return fault.Errorf(fault.Invalid, "unknown profile %d", uint8(p))
	}
	return nil
}

func (p DeviceAdded) check() error    { return p.New.check() }
func (p ProfileChanged) check() error { return p.Profile.check() }
func (UserRevoked) check() error      { return nil }

func (p DeviceRevoked) check() error {
	if len(p.Replacement) > 1 {
		return fault.Errorf(fault.Invalid, "%d replacements", len(p.Replacement))
	}
	for _, r := range p.Replacement {
		return r.check()
	}
	return nil
}

func (p UserKeyReplaced) check() error { return p.Replacement.check() }

func (r Replacement) check() error {
	for i := 1; i < len(r.Deliveries); i++ {
		if bytes.Compare(r.Deliveries[i-1].Device[:], r.Deliveries[i].Device[:]) >= 0 {
			return fault.Errorf(fault.Invalid, "deliveries are not by ascending device")
		}
	}
	return r.Key.check("a user's key")
}

func (p SequesterAdded) check() error {
	if p.Service.IsZero() {
		return fault.Errorf(fault.Invalid, "a sequester service without an id")
	}
	return p.Key.check("a sequester service's key")
}

func (SequesterRevoked) check() error { return nil }

func (r Rotation) check() error {
	if r.Generation == 0 {
		return fault.Errorf(fault.Invalid, "generation 0")
	}
	if first := r.Generation == 1; first && (r.Links != 0 || len(r.Backlink) != 0) ||
		!first && (r.Links == 0 || r.Links >= r.Generation || len(r.Backlink) != BacklinkSize) {
		return fault.Errorf(fault.Invalid, "generation %d links to %d with %d bytes", r.Generation, r.Links, len(r.Backlink))
	}
	for i := 1; i < len(r.Grants); i++ {
		if bytes.Compare(r.Grants[i-1].Recipient[:], r.Grants[i].Recipient[:]) >= 0 {
			return fault.Errorf(fault.Invalid, "grants are not by ascending recipient")
		}
	}
	return nil
}

func (p WorkspaceCreated) check() error {
	if p.Rotation.Generation != 1 {
		return fault.Errorf(fault.Invalid, "a workspace starts at generation %d", p.Rotation.Generation)
	}
	if err := checkSealedName(p.Name); err != nil {
		return err
	}
	return p.Rotation.check()
}

func checkSealedName(name []byte) error {
	if len(name) == 0 || len(name) > maxSealedName {
		return fault.Errorf(fault.Invalid, "a sealed name of %d bytes", len(name))
	}
	return nil
}

func (p RoleChanged) check() error {
	if p.Role > RoleOwner {
		return fault.Errorf(fault.Invalid, "unknown role %d", uint8(p.Role))
	}
	if len(p.Grant) > 1 || len(p.Rotation) > 1 || (p.Role == RoleNone) != (len(p.Rotation) == 1) ||
		p.Role == RoleNone && len(p.Grant) != 0 {
		return fault.Errorf(fault.Invalid, "role %s with %d grants and %d rotations", p.Role, len(p.Grant), len(p.Rotation))
	}
	for _, r := range p.Rotation {
		return r.check()
	}
	return nil
}

func (p KeyRotated) check() error {
	if p.Rotation.Generation == 1 {
		return fault.Errorf(fault.Invalid, "a rotation to generation 1")
	}
	return p.Rotation.check()
}

func (p Renamed) check() error { return checkSealedName(p.Name) }

func (p ArchivingChanged) check() error {
	if p.State > ArchivingArchived {
		return fault.Errorf(fault.Invalid, "unknown state %d", p.State)
	}
	return nil
}

func (Heartbeat) check() error { return nil }

func (c Commit) check() error {
	if n := len(c.Changes); n == 0 || n > MaxChanges {
		return fault.Errorf(fault.Invalid, "a commit of %d changes", n)
	}
	named := make(map[[16]byte]bool, len(c.Changes))
	for _, change := range c.Changes {
		if named[change.Entry] {
			return fault.Errorf(fault.Invalid, "two changes of one entry")
		}
		named[change.Entry] = true
		if err := change.check(); err != nil {
			return err
		}
		if change.Gone() && !c.Restructures {
			return fault.Errorf(fault.Invalid, "an entry is gone in a commit that does not restructure")
		}
	}
	return nil
}

func (c Change) check() error {
	switch {
	case c.Entry.IsZero():
		return fault.Errorf(fault.Invalid, "a change of no entry")
	case c.Version == 0 || c.Base > c.Version:
		return fault.Errorf(fault.Invalid, "version %d on base %d", c.Version, c.Base)
	case c.Gone() && (len(c.Manifest) != 0 || c.Version == 1), !c.Gone() && len(c.Manifest) != sha256.Size:
		return fault.Errorf(fault.Invalid, "version %d on base %d with a digest of %d bytes", c.Version, c.Base, len(c.Manifest))
	}
	return nil
}
