package sqlite_test

import (
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/sqlite"
)

// The import that the benchmarks make: 20,000 small files, whose blocks come in
// uploads of a thousand and whose entries in commits of a thousand changes.
const (
	batches = 20
	files   = 1000
)

// BenchmarkImport stores what an import makes of the metadata.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s, w := newWorkspace(b)
		b.StartTimer()
		importFiles(b, s, w)
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*batches*files)/b.Elapsed().Seconds(), "files/s")
}

// BenchmarkOpen reads what a new device reads: every live chain.
func BenchmarkOpen(b *testing.B) {
	s, w := newWorkspace(b)
	defer s.Close()
	importFiles(b, s, w)
	for b.Loop() {
		n := 0
		for after := (meta.Cursor{}); ; {
			var page []meta.Chain
			if err := s.Read(b.Context(), func(tx meta.Tx) (err error) {
				page, err = tx.Entries().Changed(w.Key, 0, after, 1<<20)
				return err
			}); err != nil {
				b.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			n += len(page)
			last := page[len(page)-1]
			after = meta.Cursor{Index: last.Index, Entry: last.Entry}
		}
		if n != batches*files {
			b.Fatalf("read %d chains", n)
		}
	}
	b.ReportMetric(float64(b.N*batches*files)/b.Elapsed().Seconds(), "files/s")
}

func importFiles(b *testing.B, s meta.Store, w meta.Workspace) {
	sealed, raw := make([]byte, 300), make([]byte, 64*files)
	rand.Read(sealed)
	rand.Read(raw)
	for i := range batches {
		raw[0] = byte(i)
		blocks, ids := make([]meta.Block, files), make([]id.Block, files)
		changes, entries := make([]meta.Change, files), make([]id.Entry, files)
		for j := range files {
			ids[j], entries[j] = id.New[id.Block](), id.New[id.Entry]()
			blocks[j] = meta.Block{ID: ids[j], Offset: uint32(j * 2048), Length: 2048}
			changes[j] = meta.Change{Entry: entries[j], Number: 1, Base: 1, Sealed: sealed}
		}
		pack := meta.Pack{ID: id.New[id.Pack](), Size: files * 2048}
		mustWrite(b, s, func(tx meta.Tx) error {
			_, err := tx.Blocks().Add(w.Key, pack, blocks)
			return err
		})
		mustWrite(b, s, func(tx meta.Tx) error { return commit(tx, w, raw, entries, changes, ids) })
	}
}

// commit does what the service of workspaces does with a commit.
func commit(tx meta.Tx, w meta.Workspace, raw []byte, entries []id.Entry, changes []meta.Change, blocks []id.Block) error {
	now, _, err := tx.Workspaces().Lock(w.Key.Organization, w.ID)
	if err != nil {
		return err
	}
	digest := record.Digest(sha256.Sum256(raw))
	if _, err := tx.Entries().Versions(w.Key, entries); err != nil {
		return err
	}
	now.Position = now.Position.Next(digest)
	if err := tx.Logs().Append(w.Key.Log(), []meta.Record{{Position: now.Position, Digest: digest, Raw: raw}}); err != nil {
		return err
	}
	if err := tx.Entries().Put(w.Key, now.Position.Index, changes); err != nil {
		return err
	}
	if _, err := tx.Blocks().Mark(w.Key, now.Position.Index, blocks); err != nil {
		return err
	}
	return tx.Workspaces().Update(now)
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
