package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"parsec/internal/base/fault"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/sqlite"
)

func open(ctx context.Context, place string) (meta.Store, error) {
	return sqlite.Open(ctx, sqlite.Config{Path: place})
}

func TestMain(m *testing.M) { metatest.Main(m, open) }

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []sqlite.Config{{}, {Path: "x", Readers: -1}} {
		if s, err := sqlite.Open(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("opened %+v: %v, %v", c, s, err)
		}
	}
	if _, err := open(t.Context(), filepath.Join(t.TempDir(), "no", "folder", "meta.db")); err == nil {
		t.Error("opened a database in a folder that is not there")
	}
}

func TestTheFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a name with ? and % and é.db")
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustWrite(t, s, create("Acme"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v; want a file of mode 0600", suffix, info, err)
		}
	}
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
		t.Fatal(err)
	}
	if s, err := open(t.Context(), path); !fault.Is(err, fault.Upgrade) || fault.HintOf(err) == "" {
		t.Errorf("got %v, %v; want an error of kind %v with a hint", s, err, fault.Upgrade)
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	text := bytes.Repeat([]byte("this is a diary\n"), 1000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := open(t.Context(), path); err == nil {
		t.Errorf("opened %v", s)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file was changed, %v", err)
	}
}

func create(name string) func(meta.Tx) error {
	return func(tx meta.Tx) error {
		_, err := tx.Organizations().Create(meta.Organization{Name: name})
		return err
	}
}

// names returns the names of the organizations that are there.
func names(t *testing.T, s meta.Store) (names []string) {
	t.Helper()
	if err := s.Read(t.Context(), func(tx meta.Tx) error {
		all, err := tx.Organizations().List("", 1000)
		for _, o := range all {
			names = append(names, o.Name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

var errDisk = errors.New("the disk has come off")

func TestACommitThatFailsIsAnError(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(s *sqlite.Store, commit func() error) error
		want string
	}{
		{"failed and not persisted", func(s *sqlite.Store, _ func() error) error { return errors.Join(errDisk, s.Undo()) }, "[Before]"},
		{"failed with the transaction left open", func(*sqlite.Store, func() error) error { return errDisk }, "[Before]"},
		{"failed but persisted", func(_ *sqlite.Store, commit func() error) error { return errors.Join(errDisk, commit()) }, "[Acme Before]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, path := newStore(t)
			mustWrite(t, s, create("Before"))
			fail := true
			s.OnCommit(func(commit func() error) error {
				if fail {
					return test.fail(s, commit)
				}
				return commit()
			})
			if err := s.Write(t.Context(), create("Acme")); !errors.Is(err, errDisk) {
				t.Fatalf("got %v, want %v", err, errDisk)
			}
			fail = false
			if got := fmt.Sprint(names(t, s)); got != test.want {
				t.Errorf("there are %s, want %s", got, test.want)
			}
			mustWrite(t, s, create("After"))
			s.Close()
			again, err := open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got := names(t, again); got[len(got)-2] != "After" && got[len(got)-1] != "Before" {
				t.Errorf("there are %s after opening again", got)
			}
		})
	}
}

func newStore(t *testing.T) (*sqlite.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meta.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, path
}

// inOneGroup runs writes that all become one group, behind a first write of
// their own, and returns their errors and the number of commits.
func inOneGroup(t *testing.T, s *sqlite.Store, writes []func(meta.Tx) error) (errs []error, commits int) {
	errs = make([]error, len(writes))
	queued := make(chan struct{})
	s.OnCommit(func(commit func() error) error {
		if commits++; commits == 1 {
			<-queued
		}
		return commit()
	})
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Write(t.Context(), create("First")); err != nil {
			t.Errorf("first write: %v", err)
		}
	})
	synctest.Wait() // until the first commits
	for i, fn := range writes {
		all.Go(func() { errs[i] = s.Write(t.Context(), fn) })
	}
	synctest.Wait() // until all the others wait behind it
	close(queued)
	all.Wait()
	return errs, commits
}

func TestWaitingWritesShareACommitAndFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t)
		defer s.Close()
		refused := errors.New("refused")
		writes := make([]func(meta.Tx) error, 20)
		for i := range writes {
			writes[i] = create(fmt.Sprintf("%02d", i))
		}
		writes[7] = func(tx meta.Tx) error { return errors.Join(create("07")(tx), refused) }
		writes[9] = func(tx meta.Tx) error { create("First")(tx); return create("09")(tx) }
		errs, commits := inOneGroup(t, s, writes)
		for i, err := range errs {
			switch {
			case i == 7 && errors.Is(err, refused), i == 9 && fault.Is(err, fault.Conflict), i != 7 && i != 9 && err == nil:
			default:
				t.Errorf("write %d: %v", i, err)
			}
		}
		if commits != 2 {
			t.Errorf("%d commits for the first write and the group behind it", commits)
		}
		if got := names(t, s); len(got) != 1+18 {
			t.Errorf("there are %s", got)
		}
	})
}

func TestOneWriteThatIsTooLargeForTheDiskTakesNoOtherAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t)
		defer s.Close()
		if err := s.LimitPages(1); err != nil {
			t.Fatal(err)
		}
		large := func(tx meta.Tx) error {
			raw := make([]byte, 1<<20)
			return tx.Logs().Append(meta.OrganizationKey(1).Log(), []meta.Record{{Position: record.Position{Index: 1}, Raw: raw}})
		}
		errs, _ := inOneGroup(t, s, []func(meta.Tx) error{create("a"), large, create("b")})
		if errs[0] != nil || !fault.Is(errs[1], fault.Full) || errs[2] != nil {
			t.Errorf("got %v, want the second alone to fail with kind %v", errs, fault.Full)
		}
		if got := fmt.Sprint(names(t, s)); got != "[First a b]" {
			t.Errorf("there are %s", got)
		}
		if err := s.LimitPages(1 << 20); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s, large)
	})
}

func TestAFullDiskLosesNothing(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, create("Acme"))
	if err := s.LimitPages(1); err != nil {
		t.Fatal(err)
	}
	var got error
	n := uint64(0)
	fill := func(tx meta.Tx) error {
		position := record.Position{Index: n + 1}
		return tx.Logs().Append(meta.OrganizationKey(1).Log(),
			[]meta.Record{{Position: position, Digest: record.Digest{byte(n), byte(n >> 8)}, Raw: make([]byte, 1000)}})
	}
	for got == nil && n < 1000 {
		if got = s.Write(t.Context(), fill); got == nil {
			n++
		}
	}
	if !fault.Is(got, fault.Full) || fault.HintOf(got) == "" {
		t.Fatalf("got %v after %d writes, want an error of kind %v with a hint", got, n, fault.Full)
	}
	s.Close()
	again, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Read(t.Context(), func(tx meta.Tx) error {
		stats, err := tx.Organizations().Stats(1)
		if err == nil && stats.Records != n {
			t.Errorf("there are %d records, want %d", stats.Records, n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, again, fill)
}

func TestATornLogLosesNoAcknowledgedWrite(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, create("Before"))
	before := crash(t, path)
	mustWrite(t, s, create("During"))
	after := crash(t, path)
	log := len(after["-wal"])
	if grown := log - len(before["-wal"]); grown <= 0 {
		t.Fatalf("the write-ahead log has grown by %d bytes", grown)
	}
	// Power is cut while the last write is on its way to the disk: its bytes
	// are there up to somewhere, and then nothing or something else.
	for at := len(before["-wal"]); at <= log; at += 1531 {
		for _, tail := range [][]byte{nil, make([]byte, log-at), bytes.Repeat([]byte{0xa5}, log-at)} {
			image := filepath.Join(t.TempDir(), "meta.db")
			for suffix, content := range map[string][]byte{"": after[""], "-wal": append(after["-wal"][:at:at], tail...)} {
				if err := os.WriteFile(image+suffix, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again, err := open(t.Context(), image)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(names(t, again)); got != "[Before]" && got != "[Before During]" {
				t.Errorf("cut after %d of %d bytes: there are %s", at, log, got)
			}
			again.Close()
		}
	}
}

// crash returns the database and its write-ahead log as they are on the disk,
// by the suffixes of their names.
func crash(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		files[suffix] = content
	}
	return files
}

func TestAFaultyStoreFailsInBothWays(t *testing.T) {
	for how, want := range map[metatest.Failure]string{metatest.NotPersisted: "[After]", metatest.Persisted: "[Acme After]"} {
		s, _ := newStore(t)
		f := &metatest.Faulty{Store: s}
		f.FailNext(how, errDisk)
		if err := f.Write(t.Context(), create("Acme")); err != errDisk {
			t.Errorf("got %v, want %v", err, errDisk)
		}
		mustWrite(t, f, create("After"))
		if got := fmt.Sprint(names(t, f)); got != want {
			t.Errorf("there are %s, want %s", got, want)
		}
	}
}
