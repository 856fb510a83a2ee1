package sqlite_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/sqlite"
)

// BenchmarkImport stores what an import of 20,000 small files makes of the
// metadata: their blocks in 20 uploads, then 20 commits of a thousand changes.
func BenchmarkImport(b *testing.B) {
	const batches, files = 20, 1000
	ctx := context.Background()
	sealed := make([]byte, 300)
	rand.Read(sealed)
	raw := make([]byte, 64*files)
	rand.Read(raw)
	for b.Loop() {
		b.StopTimer()
		s, w := newWorkspace(b)
		b.StartTimer()
		for i := range batches {
			pack := meta.Pack{ID: id.New[id.Pack](), Size: files * 2048}
			blocks := make([]meta.Block, files)
			for j := range blocks {
				blocks[j] = meta.Block{ID: id.New[id.Block](), Offset: uint32(j * 2048), Length: 2048}
			}
			mustWrite(b, s, func(tx meta.Tx) error {
				_, err := tx.Blocks().Add(w.Key, pack, blocks)
				return err
			})
			changes := make([]meta.Change, files)
			ids := make([]id.Block, files)
			es := make([]id.Entry, files)
			for j := range changes {
				changes[j] = meta.Change{Entry: id.New[id.Entry](), Number: 1, Base: 1, Sealed: sealed}
				ids[j], es[j] = blocks[j].ID, changes[j].Entry
			}
			raw[0] = byte(i)
			mustWrite(b, s, func(tx meta.Tx) error {
				now, err := tx.Workspaces().Lock(w.Key.Organization, w.ID)
				if err != nil {
					return err
				}
				if _, err := tx.Organizations().Lock(w.Key.Organization, meta.Shared); err != nil {
					return err
				}
				if _, err := tx.Entries().Versions(w.Key, es); err != nil {
					return err
				}
				digest := record.Digest(sha256.Sum256(raw))
				now.Position = now.Position.Next(digest)
				if err := tx.Logs().Append(w.Key.Log(), []meta.Record{{Position: now.Position, Digest: digest, Raw: raw}}); err != nil {
					return err
				}
				if err := tx.Entries().Put(w.Key, now.Position.Index, changes); err != nil {
					return err
				}
				if _, err := tx.Blocks().Mark(w.Key, now.Position.Index, ids); err != nil {
					return err
				}
				return tx.Workspaces().Update(now)
			})
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*batches*files)/b.Elapsed().Seconds(), "files/s")
	_ = ctx
}

func newWorkspace(tb testing.TB) (*sqlite.Store, meta.Workspace) {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), sqlite.Config{Path: filepath.Join(tb.TempDir(), "meta.db")})
	if err != nil {
		tb.Fatal(err)
	}
	w := meta.Workspace{ID: id.New[id.Workspace]()}
	mustWrite(tb, s, func(tx meta.Tx) error {
		var err error
		if w.Key.Organization, err = tx.Organizations().Create(meta.Organization{Name: "o"}); err != nil {
			return err
		}
		w.Key, err = tx.Workspaces().Create(w)
		return err
	})
	return s, w
}

func mustWrite(tb testing.TB, s meta.Store, fn func(meta.Tx) error) {
	tb.Helper()
	if err := s.Write(tb.Context(), fn); err != nil {
		tb.Fatal(err)
	}
}
