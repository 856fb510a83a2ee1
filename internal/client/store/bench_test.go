package store_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// imported returns what an import of n small files puts in the cache, a
// hundred files to a folder.
func imported(n int) ([]store.Version, []store.Child) {
	versions, children := make([]store.Version, n), make([]store.Child, n)
	folder := id.New[id.Entry]()
	for i := range n {
		if i%100 == 0 {
			folder = id.New[id.Entry]()
		}
		e := id.New[id.Entry]()
		sealed := make([]byte, 300)
		rand.Read(sealed)
		versions[i] = store.Version{Entry: e, Number: 1, Base: 1, Generation: 1, Index: uint64(i), Manifest: sealed}
		children[i] = store.Child{Folder: folder, Name: fmt.Sprintf("document %d.txt", i), Entry: e, Kind: manifest.File}
	}
	return versions, children
}

func write(b *testing.B, s *store.Store, w id.Workspace, versions []store.Version, children []store.Child) {
	for i := 0; i < len(versions); i += 1000 {
		check(b, s.Cache.Update(b.Context(), w, func(tx *store.CacheTx) error {
			return errors.Join(tx.PutVersions(versions[i:i+1000]...), tx.PutChildren(children[i:i+1000]...))
		}))
	}
}

func perSecond(b *testing.B, n int, unit string) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), unit)
}

func BenchmarkImport20000Files(b *testing.B) {
	const n = 20_000
	versions, children := imported(n)
	for b.Loop() {
		b.StopTimer()
		s := newStore(b)
		b.StartTimer()
		write(b, s, id.New[id.Workspace](), versions, children)
	}
	perSecond(b, n, "files/s")
}

func BenchmarkLookups(b *testing.B) {
	const n = 20_000
	versions, children := imported(n)
	entries := make([]id.Entry, n)
	for i, v := range versions {
		entries[i] = v.Entry
	}
	s, w := newStore(b), id.New[id.Workspace]()
	write(b, s, w, versions, children)
	b.Run("of children by name", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			c := children[i%n]
			if _, found, err := s.Cache.Child(b.Context(), w, c.Folder, c.Name); !found || err != nil {
				b.Fatal(found, err)
			}
		}
		perSecond(b, 1, "lookups/s")
	})
	b.Run("of versions in bulk", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Cache.Newest(b.Context(), w, entries[:1000]); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, 1000, "lookups/s")
	})
	b.Run("of new versions in bulk", func(b *testing.B) {
		for i := range 1000 {
			entries[i] = id.New[id.Entry]()
		}
		for b.Loop() {
			if _, err := s.Cache.Newest(b.Context(), w, entries[:1000]); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, 1000, "lookups/s")
	})
}

func BenchmarkListAFolderOf100000(b *testing.B) {
	const n = 100_000
	versions, children := imported(n)
	for i := range children {
		children[i].Folder = children[0].Folder
	}
	s, w := newStore(b), id.New[id.Workspace]()
	write(b, s, w, versions, children)
	for b.Loop() {
		count := 0
		for _, err := range s.Cache.Children(b.Context(), w, children[0].Folder, "") {
			check(b, err)
			count++
		}
		if count != n {
			b.Fatal(count)
		}
	}
	perSecond(b, n, "children/s")
}

func BenchmarkRememberACommitOf1000Changes(b *testing.B) {
	s, w := newStore(b), id.New[id.Workspace]()
	request, raw := make([]byte, 400_000), make([]byte, 60_000)
	for i := uint64(1); b.Loop(); i++ {
		var n uint64
		check(b, s.State.Update(b.Context(), func(tx *store.StateTx) (err error) {
			n, err = tx.Queue(store.Pending{Workspace: w, Request: request})
			return err
		}))
		check(b, s.State.Update(b.Context(), func(tx *store.StateTx) error {
			if err := tx.Append(w, store.Record{Index: i, Raw: raw}); err != nil {
				return err
			}
			if err := tx.PutWorkspace(store.Workspace{Workspace: w}); err != nil {
				return err
			}
			return tx.Settle(n)
		}))
	}
	perSecond(b, 1, "commits/s")
}
