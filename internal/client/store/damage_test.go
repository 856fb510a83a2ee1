package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// tamper changes a closed database with SQL, as somebody with the disk could.
func tamper(t *testing.T, p place, file string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.dir, file))
	check(t, err)
	defer db.Close()
	for _, s := range statements {
		result, err := db.Exec(s)
		check(t, err)
		if n, err := result.RowsAffected(); n == 0 || err != nil {
			t.Fatalf("%s: changed %d rows, %v", s, n, err)
		}
	}
}

// filled makes a store with two of everything that may be exchanged, and closes it.
func filled(t *testing.T, p place) (id.Workspace, [2]id.Entry) {
	t.Helper()
	s := p.create(t)
	w, other := id.New[id.Workspace](), id.New[id.Workspace]()
	entries := [2]id.Entry{id.New[id.Entry](), id.New[id.Entry]()}
	update(t, s, func(tx *store.StateTx) error {
		_, err := tx.Queue(store.Pending{Request: []byte("one")})
		_, errToo := tx.Queue(store.Pending{Request: []byte("two")})
		return errors.Join(err, errToo,
			tx.Append(w, records(0, 3)...),
			tx.PutWorkspace(store.Workspace{Workspace: w}), tx.PutWorkspace(store.Workspace{Workspace: other}),
			tx.PutKeys(w, store.Key{Generation: 1}, store.Key{Generation: 2}),
			tx.PutOpening(id.New[id.User](), []byte("one")), tx.PutOpening(id.New[id.User](), []byte("two")),
			tx.PutOrganization(store.Organization{}), tx.PutUserManifest(store.UserManifest{}),
			tx.PutProgress("one", nil), tx.PutProgress("two", nil))
	})
	cache(t, s, w, func(tx *store.CacheTx) error {
		for i, e := range entries {
			err := errors.Join(
				tx.PutVersions(store.Version{Entry: e, Number: uint64(1 + i), Base: 1, Manifest: []byte("sealed")}),
				tx.PutChildren(store.Child{Folder: id.RootEntry(w), Name: fmt.Sprint(i), Entry: e, Kind: manifest.File}),
				tx.PutFolder(e, []byte("shape")), tx.PutProblems(store.Problem{Entry: e}))
			if err != nil {
				return err
			}
		}
		return tx.PutMark(store.Mark{Manifests: 3})
	})
	check(t, s.Close())
	return w, entries
}

func TestExchangedValuesOfTheStateAreRefused(t *testing.T) {
	exchange := func(table, column string) string {
		return fmt.Sprintf(`UPDATE %[1]s SET %[2]s = (SELECT %[2]s FROM %[1]s o WHERE o.rowid != %[1]s.rowid ORDER BY o.rowid LIMIT 1)`, table, column)
	}
	progress := func(s *store.Store) error { _, _, err := s.State.Progress(context.Background(), "one"); return err }
	outbox := func(s *store.Store) error {
		for _, err := range s.State.Outbox(context.Background()) {
			return err
		}
		return nil
	}
	for _, c := range []struct {
		name   string
		tamper string
		read   func(s *store.Store, w id.Workspace) error
	}{
		{"a head for another", "UPDATE head SET value = (SELECT value FROM head WHERE number = 1) WHERE number = 2", func(s *store.Store, w id.Workspace) error {
			_, err := s.State.Head(t.Context(), w, 2)
			return err
		}},
		{"a head of an index for that of another log", "UPDATE head SET log = zeroblob(16)", func(s *store.Store, _ id.Workspace) error {
			_, err := s.State.Position(t.Context(), id.Workspace{})
			return err
		}},
		{"a lost head", "DELETE FROM head WHERE number = 2", func(s *store.Store, w id.Workspace) error {
			_, err := s.State.Head(t.Context(), w, 2)
			return err
		}},
		{"a record for another", exchange("record", "value"), func(s *store.Store, w id.Workspace) error {
			for _, err := range s.State.Records(t.Context(), w, 0) {
				return err
			}
			return nil
		}},
		{"a lost record", "DELETE FROM record WHERE number = 2", func(s *store.Store, w id.Workspace) error {
			for _, err := range s.State.Records(t.Context(), w, 0) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"a workspace for another", exchange("workspace", "value"), func(s *store.Store, w id.Workspace) error {
			_, _, err := s.State.Workspace(t.Context(), w)
			return err
		}},
		{"a workspace under another's id", "UPDATE workspace SET workspace = zeroblob(16) WHERE rowid = 1", func(s *store.Store, _ id.Workspace) error {
			_, err := s.State.Workspaces(t.Context())
			return err
		}},
		{"a generation for another", exchange("workspace_key", "value"), func(s *store.Store, w id.Workspace) error {
			_, err := s.State.Keys(t.Context(), w)
			return err
		}},
		{"an opening for another", exchange("opening", "value"), func(s *store.Store, _ id.Workspace) error {
			_, err := s.State.Openings(t.Context())
			return err
		}},
		{"the user manifest for the organization", exchange("single", "value"), func(s *store.Store, _ id.Workspace) error {
			_, _, err := s.State.Organization(t.Context())
			return err
		}},
		{"a request for another", exchange("outbox", "value"), func(s *store.Store, _ id.Workspace) error { return outbox(s) }},
		{"a piece of progress for another", exchange("progress", "value"), func(s *store.Store, _ id.Workspace) error { return progress(s) }},
		{"a value of another kind", "UPDATE progress SET value = (SELECT value FROM opening)", func(s *store.Store, _ id.Workspace) error { return progress(s) }},
		{"a changed bit", "UPDATE outbox SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB)", func(s *store.Store, _ id.Workspace) error { return outbox(s) }},
		{"an empty value", "UPDATE outbox SET value = x''", func(s *store.Store, _ id.Workspace) error { return outbox(s) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			w, _ := filled(t, p)
			tamper(t, p, "state.db", c.tamper)
			err := c.read(p.open(t), w)
			if !store.IsDamaged(err) || !fault.Is(err, fault.Integrity) || fault.PromiseOf(err) == "" || fault.HintOf(err) == "" {
				t.Errorf("got %v (kind %v, hint %q)", err, fault.KindOf(err), fault.HintOf(err))
			}
		})
	}
}

func TestExchangedValuesOfTheCacheAreRefusedAndItStartsAnew(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper string
		read   func(s *store.Store, w id.Workspace, e [2]id.Entry) error
	}{
		{"the facts of a version for another's", "UPDATE entry SET facts = (SELECT facts FROM entry WHERE number = 2)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			_, err := s.Cache.Newest(t.Context(), w, e[:])
			return err
		}},
		{"a version under another number", "UPDATE entry SET number = 9 WHERE number = 1", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			for _, err := range s.Cache.Entries(t.Context(), w) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"a manifest for another", "UPDATE entry SET manifest = (SELECT manifest FROM entry WHERE number = 2)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			_, err := s.Cache.Chains(t.Context(), w, e[:])
			return err
		}},
		{"a child in another folder", "UPDATE child SET folder = zeroblob(16)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			_, err := s.Cache.Places(t.Context(), w, e[0])
			return err
		}},
		{"a child that stands for another entry", "UPDATE child SET entry = (SELECT max(entry) FROM child)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			_, err := s.Cache.Places(t.Context(), w, e[0])
			_, errToo := s.Cache.Places(t.Context(), w, e[1])
			return errors.Join(err, errToo)
		}},
		{"a child for another", "UPDATE child SET value = (SELECT max(value) FROM child)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			for _, err := range s.Cache.Children(t.Context(), w, id.RootEntry(w), "") {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"a folder for another", "UPDATE folder SET value = (SELECT max(value) FROM folder)", func(s *store.Store, w id.Workspace, e [2]id.Entry) error {
			_, _, err := s.Cache.Folder(t.Context(), w, e[0])
			_, _, errToo := s.Cache.Folder(t.Context(), w, e[1])
			return errors.Join(err, errToo)
		}},
		{"a problem for another", "UPDATE problem SET value = (SELECT max(value) FROM problem)", func(s *store.Store, w id.Workspace, _ [2]id.Entry) error {
			_, err := s.Cache.Problems(t.Context(), w)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			w, entries := filled(t, p)
			tamper(t, p, "cache.db", c.tamper)
			s := p.open(t)
			err := c.read(s, w, entries)
			if !store.IsDamaged(err) || !fault.Is(err, fault.Integrity) || fault.HintOf(err) == "" {
				t.Fatalf("got %v (kind %v, hint %q)", err, fault.KindOf(err), fault.HintOf(err))
			}
			if _, err := s.Cache.Mark(t.Context(), w); !store.IsDamaged(err) || !s.Cache.Damaged() {
				t.Errorf("a damaged cache still answers: %v", err)
			}
			check(t, s.Cache.Reset(t.Context()))
			isEmpty(t, s, w)
		})
	}
}

func isEmpty(t *testing.T, s *store.Store, w id.Workspace) {
	t.Helper()
	if m := must(s.Cache.Mark(t.Context(), w))(t); m.Manifests != 0 {
		t.Errorf("the new cache has mark %v", m)
	}
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutMark(store.Mark{Manifests: 5}) })
	if m := must(s.Cache.Mark(t.Context(), w))(t); m.Manifests != 5 {
		t.Errorf("the new cache has mark %v, want the one written", m)
	}
}

func TestACacheThatWasFoundDamagedIsGoneAtTheNextOpening(t *testing.T) {
	p := newPlace(t)
	w, entries := filled(t, p)
	tamper(t, p, "cache.db", "UPDATE entry SET facts = x'00'")
	s := p.open(t)
	if _, err := s.Cache.Newest(t.Context(), w, entries[:]); !store.IsDamaged(err) {
		t.Fatalf("got %v", err)
	}
	isEmpty(t, p.reopen(t, s), w)
}

func TestAnUnusableCacheIsMadeAnewAtOpening(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, p place){
		"missing":             func(t *testing.T, p place) { check(t, os.Remove(filepath.Join(p.dir, "cache.db"))) },
		"empty":               func(t *testing.T, p place) { check(t, os.Truncate(filepath.Join(p.dir, "cache.db"), 0)) },
		"cut":                 func(t *testing.T, p place) { check(t, os.Truncate(filepath.Join(p.dir, "cache.db"), 5000)) },
		"no database":         func(t *testing.T, p place) { overwrite(t, p, "cache.db", 0) },
		"garbage in its list": func(t *testing.T, p place) { overwrite(t, p, "cache.db", 100) },
		"without a header":    func(t *testing.T, p place) { tamper(t, p, "cache.db", "DELETE FROM header") },
		"of another salt":     func(t *testing.T, p place) { tamper(t, p, "cache.db", "UPDATE header SET salt = zeroblob(32)") },
		"with a spoilt mark":  func(t *testing.T, p place) { tamper(t, p, "cache.db", "UPDATE mark SET value = x'00'") },
		"of a newer version": func(t *testing.T, p place) {
			tamper(t, p, "cache.db", "UPDATE mark SET value = value; PRAGMA user_version = 99")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			w, _ := filled(t, p)
			spoil(t, p)
			s := p.open(t)
			isEmpty(t, s, w)
			if at := must(s.State.Position(t.Context(), w))(t); at.Index != 3 {
				t.Errorf("the state ends at %d", at.Index)
			}
		})
	}
}

func overwrite(t *testing.T, p place, file string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(p.dir, file), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("this is no database, and never was one, as anybody sees"), offset)
	check(t, errors.Join(err, f.Close()))
}

func TestADamagedStateIsNamedAndLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, p place)
		kind  fault.Kind
	}{
		{"missing", func(t *testing.T, p place) { check(t, os.Remove(filepath.Join(p.dir, "state.db"))) }, fault.Failed},
		{"empty", func(t *testing.T, p place) { check(t, os.Truncate(filepath.Join(p.dir, "state.db"), 0)) }, fault.Failed},
		{"no database", func(t *testing.T, p place) { overwrite(t, p, "state.db", 0) }, fault.Failed},
		{"garbage in its list", func(t *testing.T, p place) { overwrite(t, p, "state.db", 100) }, fault.Failed},
		{"without a header", func(t *testing.T, p place) { tamper(t, p, "state.db", "DELETE FROM header") }, fault.Integrity},
		{"of another salt", func(t *testing.T, p place) { tamper(t, p, "state.db", "UPDATE header SET salt = zeroblob(32)") }, fault.Integrity},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			filled(t, p)
			c.spoil(t, p)
			before, _ := os.ReadFile(filepath.Join(p.dir, "state.db"))
			_, err := store.Open(t.Context(), p.dir, p.device, p.key)
			if !store.IsDamaged(err) || fault.KindOf(err) != c.kind || fault.HintOf(err) == "" {
				t.Errorf("got %v (kind %v, hint %q), want kind %v", err, fault.KindOf(err), fault.HintOf(err), c.kind)
			}
			after, _ := os.ReadFile(filepath.Join(p.dir, "state.db"))
			if string(before) != string(after) {
				t.Error("opening it changed it")
			}
		})
	}
}

func TestAStoreOpensOnlyForItsDeviceAndKey(t *testing.T) {
	p := newPlace(t)
	filled(t, p)
	for name, wrong := range map[string]place{
		"another key":    {p.dir, p.device, secret.Key{1}},
		"another device": {p.dir, id.New[id.Device](), p.key},
	} {
		if _, err := store.Open(t.Context(), wrong.dir, wrong.device, wrong.key); !store.IsDamaged(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := store.Open(t.Context(), p.dir, p.device, p.key); err != nil {
		t.Error(err)
	}
}

func TestAStateOfANewerVersionNeedsAnUpgrade(t *testing.T) {
	p := newPlace(t)
	filled(t, p)
	tamper(t, p, "state.db", "UPDATE header SET salt = salt; PRAGMA user_version = 99")
	if _, err := store.Open(t.Context(), p.dir, p.device, p.key); !fault.Is(err, fault.Upgrade) || store.IsDamaged(err) {
		t.Errorf("got %v", err)
	}
}
