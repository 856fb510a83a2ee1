package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

// List implements [blob.Store]. It holds the names of one shard in memory.
func (s *Store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		for shard := int(after[0]); shard < 256; shard++ {
			packs, err := s.packs(ctx, scope, byte(shard))
			if err != nil {
				yield(blob.Object{}, wrap("list packs", err))
				return
			}
			for _, pack := range packs {
				if bytes.Compare(pack[:], after[:]) <= 0 {
					continue
				}
				o, err := s.object(blob.Key{Scope: scope, Pack: pack})
				if errors.Is(err, fs.ErrNotExist) {
					continue // removed meanwhile
				}
				if !yield(o, wrap("list packs", err)) || err != nil {
					return
				}
			}
		}
	}
}

// packs returns the packs of one shard, by ascending id.
func (s *Store) packs(ctx context.Context, scope blob.Scope, shard byte) ([]id.Pack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := s.root.Open(shardOf(blob.Key{Scope: scope, Pack: id.Pack{shard}}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	packs := make([]id.Pack, len(names))
	for i, name := range names {
		if packs[i], err = id.Parse[id.Pack](name); err != nil || packs[i][0] != shard {
			return nil, fmt.Errorf("a file that is no pack: %s", path.Join(d.Name(), name))
		}
	}
	slices.SortFunc(packs, func(a, b id.Pack) int { return bytes.Compare(a[:], b[:]) })
	return packs, nil
}

func (s *Store) object(key blob.Key) (blob.Object, error) {
	info, err := s.root.Stat(pathOf(key))
	if err != nil {
		return blob.Object{}, err
	}
	return blob.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}
