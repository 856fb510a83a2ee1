package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/padding"
)

// BlockOverhead is what sealing adds to a padded block: the tag.
const BlockOverhead = 16

// blockNonce is the nonce of every block. Each has a key of its own, made at
// sealing and used once, so no pair of key and nonce comes twice.
var blockNonce [12]byte

// SealedBlockSize returns the length of n bytes of content as a sealed block.
func SealedBlockSize(n int) int { return padding.Padded(n) + BlockOverhead }

// SealBlock appends content as a sealed block to dst, under a new key and id,
// and returns the extended dst. Content has 1 to [manifest.MaxBlockSize]
// bytes; anything else is a mistake in the program.
//
// Nothing is allocated for the block where dst has room for
// [SealedBlockSize]. Content may stand at the very place that the block will
// take, dst[len(dst):], so that a file is read into the upload's buffer and
// sealed there; otherwise it must not overlap that place. In both cases dst
// owns the result, and content in place is gone.
func (p Place) SealBlock(dst, content []byte) (manifest.Ref, []byte) {
	n := len(content)
	if n == 0 || n > manifest.MaxBlockSize {
		panic("seal: a block that is empty or too long")
	}
	ref := manifest.Ref{ID: id.New[id.Block](), Size: uint64(n)}
	rand.Read(ref.Key[:])

	start, padded := len(dst), padding.Padded(n)
	out := slices.Grow(dst, padded+BlockOverhead)[:start+padded]
	plain := out[start:]
	copy(plain, content)
	clear(plain[n:])
	out = oneTime(ref.Key).Seal(out[:start], blockNonce[:], plain, p.blockData(ref.ID))
	ref.Digest = sha256.Sum256(out[start:])
	return ref, out
}

func (p Place) blockData(b id.Block) []byte {
	return manifest.BlockAssociatedData(p.Organization, p.Workspace, b)
}

// CheckBlock reports, as a broken promise, a sealed block that is not the one
// to which a signed manifest refers. It hashes the block.
func CheckBlock(ref manifest.Ref, sealed []byte) error {
	if sha256.Sum256(sealed) != ref.Digest {
		return fault.Broken(PromiseContent, "block %s is not the one that was signed", ref.ID)
	}
	return nil
}

// OpenBlock checks a sealed block against the ref in a signed manifest and
// appends its content to dst. Where dst is sealed[:0] it opens in place, and
// sealed is gone whether it succeeds or not; any other dst must not overlap
// sealed. A hole has no block and cannot be opened.
func (p Place) OpenBlock(dst []byte, ref manifest.Ref, sealed []byte) ([]byte, error) {
	if err := CheckBlock(ref, sealed); err != nil {
		return nil, err
	}
	if ref.Hole() || ref.Size == 0 || ref.Size > manifest.MaxBlockSize {
		return nil, fault.Errorf(fault.Invalid, "open block: a block of %d bytes", ref.Size)
	}
	n := int(ref.Size)
	if len(sealed) != SealedBlockSize(n) {
		return nil, fault.Errorf(fault.Invalid, "open block %s: %d bytes are not %d bytes sealed", ref.ID, len(sealed), n)
	}
	start := len(dst)
	out, err := oneTime(ref.Key).Open(dst, blockNonce[:], sealed, p.blockData(ref.ID))
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "open block %s: its author sealed it under another key or place", ref.ID)
	}
	if _, err := padding.Strip(out[start:], n); err != nil {
		return nil, fault.Errorf(fault.Invalid, "open block %s: %w", ref.ID, err)
	}
	return out[:start+n], nil
}
