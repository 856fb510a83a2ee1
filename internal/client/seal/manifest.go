package seal

import (
	"bytes"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/label"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// SealManifest returns the sealed form of a version of an entry, and its
// digest, which is what a commit signs.
func (k WorkspaceKey) SealManifest(m manifest.Manifest, b manifest.Body) ([]byte, record.Digest) {
	aead := randomNonce(derive(k.Key, label.Manifest, k.Workspace[:], m.Entry[:]))
	plain := manifest.Encode(m, b)
	sealed := aead.Seal(make([]byte, 0, len(plain)+aead.Overhead()), nil, plain, k.manifestData(m.Entry, m.Version))
	return sealed, sha256.Sum256(sealed)
}

func (k WorkspaceKey) manifestData(entry id.Entry, version uint64) []byte {
	return manifest.Context{
		Organization: k.Organization,
		Workspace:    k.Workspace,
		Entry:        entry,
		Version:      version,
		Generation:   k.Generation,
	}.AssociatedData()
}

// OpenManifest opens the sealed manifest that a verified commit's change
// names; k is of the commit's generation. A manifest other than the one whose
// digest the author signed is a broken promise of the server. Content of the
// author that does not open, does not parse or contradicts the commit is
// [fault.Invalid] ([fault.Upgrade] where a newer version may know it): it
// hides only this entry, and the error names its author.
func (k WorkspaceKey) OpenManifest(change record.Change, author id.Device, sealed []byte) (manifest.Manifest, manifest.Body, error) {
	digest := sha256.Sum256(sealed)
	if !bytes.Equal(digest[:], change.Manifest) {
		return manifest.Manifest{}, nil, fault.Broken(PromiseContent,
			"the manifest of entry %s, version %d, is not the one that was signed", change.Entry, change.Version)
	}
	m, b, err := k.open(change, sealed)
	if err == nil {
		err = matches(m, b, change, author)
	}
	if err != nil {
		return manifest.Manifest{}, nil, fault.Errorf(fault.KindOf(err),
			"open entry %s, version %d, written by device %s: %w", change.Entry, change.Version, author, err)
	}
	return m, b, nil
}

func (k WorkspaceKey) open(change record.Change, sealed []byte) (manifest.Manifest, manifest.Body, error) {
	if len(sealed) > manifest.MaxSealed {
		return manifest.Manifest{}, nil, fault.Errorf(fault.Invalid, "it is %d bytes long", len(sealed))
	}
	aead := randomNonce(derive(k.Key, label.Manifest, k.Workspace[:], change.Entry[:]))
	plain, err := aead.Open(nil, nil, sealed, k.manifestData(change.Entry, change.Version))
	if err != nil {
		return manifest.Manifest{}, nil, fault.Errorf(fault.Invalid, "it was sealed under another key or place")
	}
	return manifest.Decode(plain)
}

// matches refuses a manifest that says something else than the commit that
// introduced it.
func matches(m manifest.Manifest, b manifest.Body, change record.Change, author id.Device) error {
	folder, _ := b.(manifest.FolderBody)
	switch {
	case m.Entry != change.Entry:
		return fault.Errorf(fault.Invalid, "the manifest is of entry %s", m.Entry)
	case m.Version != change.Version:
		return fault.Errorf(fault.Invalid, "the manifest is of version %d", m.Version)
	case m.Author != author:
		return fault.Errorf(fault.Invalid, "the manifest names device %s as its author", m.Author)
	case folder.Delta != (change.Base != change.Version):
		return fault.Errorf(fault.Invalid, "version %d on base %d does not fit the manifest", change.Version, change.Base)
	}
	return nil
}
