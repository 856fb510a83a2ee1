package workspace

import (
	"context"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
	"parsec/internal/verify"
)

// MaxCommit is the most bytes of a commit: of its record with the manifests,
// and of the ids of the most blocks that it may introduce.
const MaxCommit = 8<<20 + record.MaxIntroduced*id.Size

// Commit is a commit's record and what comes beside it.
type Commit struct {
	Record []byte
	// Manifests are the sealed manifests of the puts, in the record's order.
	Manifests [][]byte
	// Blocks are the ids of the blocks that the commit introduces.
	Blocks []id.Block
}

// Commit appends a commit with its manifests, whole or not at all. For one
// that the log holds already it returns the original position.
func (s *Service) Commit(ctx context.Context, c call.Caller, w id.Workspace, in Commit) (record.Position, error) {
	if n := len(in.Blocks); n > record.MaxIntroduced {
		return record.Position{}, fault.Errorf(fault.TooLarge, "a commit of %d blocks, at most %d are allowed", n, record.MaxIntroduced)
	}
	signed, err := s.authenticate(ctx, c, in.Record)
	if err != nil {
		return record.Position{}, err
	}
	commit, ok := signed.Payload.(record.Commit)
	if !ok {
		return record.Position{}, fault.Errorf(fault.Invalid, "a %s record in place of a commit", signed.Record.Kind)
	}
	changes, size, err := match(commit, in.Manifests)
	if err != nil {
		return record.Position{}, err
	}
	return s.write(ctx, c, w, signed, func(tx meta.Tx, ws access.Workspace, step *verify.Step) error {
		if err := checkStorage(tx, ws.Organization, size); err != nil {
			return err
		}
		missing, err := tx.Blocks().Mark(ws.Row.Key, step.Position.Index, in.Blocks)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return &call.Missing{Blocks: missing}
		}
		return tx.Entries().Put(ws.Row.Key, step.Position.Index, changes)
	})
}

// match returns the commit's changes with their manifests, each of which must
// be the one that the commit names.
func match(commit record.Commit, manifests [][]byte) (changes []meta.Change, size uint64, err error) {
	changes = make([]meta.Change, len(commit.Changes))
	for i, change := range commit.Changes {
		changes[i] = meta.Change{Entry: change.Entry, Number: change.Version, Base: change.Base}
		if change.Gone() {
			continue
		}
		if len(manifests) == 0 {
			return nil, 0, fault.Errorf(fault.Invalid, "a commit with too few manifests")
		}
		sealed := manifests[0]
		manifests = manifests[1:]
		if len(sealed) > manifest.MaxSealed {
			return nil, 0, fault.Errorf(fault.TooLarge, "a manifest of %d bytes, at most %d are allowed", len(sealed), manifest.MaxSealed)
		}
		if sha256.Sum256(sealed) != [sha256.Size]byte(change.Manifest) {
			return nil, 0, fault.Errorf(fault.Invalid, "the manifest of entry %s is not the one that the commit names", change.Entry)
		}
		changes[i].Sealed = sealed
		size += uint64(len(sealed))
	}
	if len(manifests) > 0 {
		return nil, 0, fault.Errorf(fault.Invalid, "a commit with %d manifests too many", len(manifests))
	}
	return changes, size, nil
}

// checkStorage holds the organization to the storage that the operator allows.
func checkStorage(tx meta.Tx, o access.Organization, more uint64) error {
	most := o.Row.Limits.Storage
	if most == 0 || more == 0 { // what adds nothing is never refused for it
		return nil
	}
	stats, err := tx.Organizations().Stats(o.Row.Key)
	if err != nil {
		return err
	}
	if used := stats.BlockBytes + stats.ManifestBytes; used+more > most {
		return fault.WithHint(fault.Errorf(fault.Full, "the organization uses %d of the %d bytes that it may", used, most),
			"ask the operator of the server for more")
	}
	return nil
}
