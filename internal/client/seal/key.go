package seal

import (
	"crypto/rand"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
	"parsec/internal/format/record"
)

// WorkspaceKey is one generation of a workspace's key, in its place. It seals
// and opens the workspace's manifests and name.
type WorkspaceKey struct {
	Place
	Generation uint64
	Key        secret.Key
}

// NewWorkspaceKey makes the key of a generation.
func NewWorkspaceKey(p Place, generation uint64) WorkspaceKey {
	k := WorkspaceKey{Place: p, Generation: generation}
	rand.Read(k.Key[:])
	return k
}

// Commitment is what the record that introduces the generation says of its key.
func (k WorkspaceKey) Commitment() record.Digest {
	return record.CommitToKey(k.Organization, k.Workspace, k.Generation, k.Key)
}

// committed returns the key of a generation with these bytes, if it is the one
// to which the log commits. The comparison takes constant time.
func (p Place) committed(generation uint64, key []byte, commitment record.Digest) (WorkspaceKey, error) {
	k := WorkspaceKey{Place: p, Generation: generation}
	if len(key) != len(k.Key) {
		return WorkspaceKey{}, fault.Errorf(fault.Invalid, "it holds a key of %d bytes", len(key))
	}
	copy(k.Key[:], key)
	got := k.Commitment()
	if !secret.Key(got).Equal(secret.Key(commitment)) {
		return WorkspaceKey{}, fault.Errorf(fault.Invalid, "it holds another key than the log commits to")
	}
	return k, nil
}

// SealGrant seals the key to one recipient: a user or a sequester service, by
// id, with the public key that the organization log names. It returns what
// the record says of the grant, and the sealed bytes that travel beside it.
func (k WorkspaceKey) SealGrant(recipient [id.Size]byte, to record.PublicKey) (record.Grant, []byte, error) {
	g := record.Grant{Recipient: recipient, Key: to.Digest()}
	sealed, err := sealTo(to, k.grantInfo(k.Generation, g), k.Key[:])
	if err != nil {
		return record.Grant{}, nil, fault.Errorf(fault.KindOf(err), "seal workspace key: %w", err)
	}
	g.Sealed = sha256.Sum256(sealed)
	return g, sealed, nil
}

func (p Place) grantInfo(generation uint64, g record.Grant) []byte {
	return label.Grant.Join(p.Organization[:], p.Workspace[:], label.Uint(generation), g.Recipient[:], g.Key[:])
}

// OpenGrant opens the key of a generation that the grant g of a verified
// record hands to the holder of own. Sealed bytes other than those the record
// names are a broken promise of the server. A grant that does not open to the
// commitment is [fault.Invalid], and the fault of the record's author.
func (p Place) OpenGrant(own *KeyPair, generation uint64, commitment record.Digest, g record.Grant, sealed []byte) (WorkspaceKey, error) {
	if sha256.Sum256(sealed) != g.Sealed {
		return WorkspaceKey{}, fault.Broken(PromiseKeys,
			"the grant of workspace %s, generation %d, is not the one that was signed", p.Workspace, generation)
	}
	k, err := p.openGrant(own, generation, commitment, g, sealed)
	if err != nil {
		return WorkspaceKey{}, fault.WithHint(
			fault.Errorf(fault.Invalid, "open grant of workspace %s, generation %d: %w", p.Workspace, generation, err),
			"ask an owner or manager of the workspace to share it with you again")
	}
	return k, nil
}

func (p Place) openGrant(own *KeyPair, generation uint64, commitment record.Digest, g record.Grant, sealed []byte) (WorkspaceKey, error) {
	if g.Key != own.Digest() {
		return WorkspaceKey{}, fault.Errorf(fault.Invalid, "it is sealed to another key")
	}
	key, err := own.open(p.grantInfo(generation, g), sealed)
	if err != nil {
		return WorkspaceKey{}, err
	}
	return p.committed(generation, key, commitment)
}

// SealBacklink seals the key of an earlier generation under this one.
func (k WorkspaceKey) SealBacklink(earlier WorkspaceKey) []byte {
	return randomNonce(derive(k.Key, label.Backlink)).Seal(nil, nil, earlier.Key[:], k.backlinkData(earlier.Generation))
}

func (k WorkspaceKey) backlinkData(links uint64) []byte {
	return label.Backlink.Join(k.Organization[:], k.Workspace[:], label.Uint(k.Generation), label.Uint(links))
}

// OpenBacklink opens the key of the earlier generation to which the verified
// record of this generation links; commitment is that of the earlier one's
// own record. A backlink that does not open to it is [fault.Invalid], and the
// fault of the record's author.
func (k WorkspaceKey) OpenBacklink(links uint64, commitment record.Digest, backlink []byte) (WorkspaceKey, error) {
	earlier, err := k.openBacklink(links, commitment, backlink)
	if err != nil {
		return WorkspaceKey{}, fault.WithHint(
			fault.Errorf(fault.Invalid, "open backlink of workspace %s from generation %d to %d: %w", k.Workspace, k.Generation, links, err),
			"ask an owner or manager who still reads the older files to rotate the workspace's key")
	}
	return earlier, nil
}

func (k WorkspaceKey) openBacklink(links uint64, commitment record.Digest, backlink []byte) (WorkspaceKey, error) {
	if len(backlink) != record.BacklinkSize {
		return WorkspaceKey{}, fault.Errorf(fault.Invalid, "it is %d bytes long", len(backlink))
	}
	key, err := randomNonce(derive(k.Key, label.Backlink)).Open(nil, nil, backlink, k.backlinkData(links))
	if err != nil {
		return WorkspaceKey{}, fault.Errorf(fault.Invalid, "it was sealed under another key or place")
	}
	return k.committed(links, key, commitment)
}
