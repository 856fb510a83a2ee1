package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/postgres"
	"parsec/internal/services"
)

func create(name string) func(meta.Tx) error {
	return func(tx meta.Tx) error {
		_, err := tx.Organizations().Create(meta.Organization{Name: name})
		return err
	}
}

func find(name string) func(meta.Tx) error {
	return func(tx meta.Tx) error {
		_, err := tx.Organizations().ByName(name)
		return err
	}
}

// newStore opens a database of the test's own.
func newStore(t *testing.T) (s *postgres.Store, place string) {
	t.Helper()
	place = services.Postgres(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: place})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, place
}

// sql returns a connection past the store.
func sql(t *testing.T, place string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func execute(t *testing.T, place, statement string) {
	t.Helper()
	if _, err := sql(t, place).Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestThePasswordIsInNoError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	const password = "correct-horse"
	for name, test := range map[string]struct {
		url  string
		want fault.Kind
	}{
		"not a URL":              {"postgres://u:" + password + "@%zz/d", fault.Invalid},
		"a port that is none":    {"postgres://u:" + password + "@h:port/d", fault.Invalid},
		"another database":       {"mysql://u:" + password + "@h/d", fault.Invalid},
		"a setting that is none": {"postgres://u:" + password + "@h/d?sslmode=perhaps", fault.Invalid},
		"nobody listens":         {"postgres://u:" + password + "@" + nobody + "/d", fault.Unreachable},
		"no such host":           {"postgres://u:" + password + "@host.invalid/d", fault.Unreachable},
	} {
		s, err := postgres.Open(t.Context(), postgres.Config{URL: test.url})
		if !fault.Is(err, test.want) || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, %v (%v); want an error of kind %v with a hint", name, s, err, fault.KindOf(err), test.want)
		}
		if text := fmt.Sprintf("%v %+v %s", err, err, fault.HintOf(err)); strings.Contains(text, password) {
			t.Errorf("%s: the error tells the password: %s", name, text)
		}
	}
}

func TestADatabaseThatIsNotThereIsSaidToBeMissing(t *testing.T) {
	place := services.Postgres(t)
	_, err := postgres.Open(t.Context(), postgres.Config{URL: place + "_and_more"})
	if place = place[strings.LastIndex(place, "/")+1:]; err == nil || fault.HintOf(err) == "" {
		t.Errorf("got %v, want an error with a hint about %s", err, place)
	}
}

func TestADatabaseThatComesBackIsUsedAgain(t *testing.T) {
	cluster := services.StartPostgres(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: cluster.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write(t, s, create("Before"))
	cluster.Crash()
	for what, call := range map[string]func(context.Context, func(meta.Tx) error) error{"write": s.Write, "read": s.Read} {
		err := call(t.Context(), find("Before"))
		if !fault.Is(err, fault.Unreachable) || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: got %v, want an error of kind %v without an address", what, err, fault.Unreachable)
		}
	}
	cluster.Resume()
	// What was answered before the crash is there, although the cluster's
	// default is not to wait for the disk.
	if err := s.Read(t.Context(), find("Before")); err != nil {
		t.Errorf("read: %v", err)
	}
	write(t, s, create("After"))
}

func TestAWriteWhoseConnectionBreaksRunsAgain(t *testing.T) {
	s, place := newStore(t)
	other := sql(t, place)
	runs := 0
	write(t, s, func(tx meta.Tx) error {
		runs++
		if err := create("Acme")(tx); err != nil {
			return err
		}
		if runs == 1 {
			if _, err := other.Exec(t.Context(), `
				SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
				t.Fatal(err)
			}
		}
		return find("Acme")(tx)
	})
	if runs != 2 {
		t.Errorf("the function ran %d times, want 2", runs)
	}
}

func TestWritesThatCollideRunAgain(t *testing.T) {
	s, _ := newStore(t)
	w, v := newWorkspace(t, s), newWorkspace(t, s)
	// Against the rules, two transactions lock two workspaces crosswise.
	var met, all sync.WaitGroup
	met.Add(2)
	for _, order := range [][]meta.Workspace{{w, v}, {v, w}} {
		meet := sync.OnceFunc(func() { met.Done(); met.Wait() })
		all.Go(func() {
			if err := s.Write(t.Context(), func(tx meta.Tx) error {
				for i, one := range order {
					if i == 1 {
						meet()
					}
					now, _, err := tx.Workspaces().Lock(one.Key.Organization, one.ID)
					if err != nil {
						return err
					}
					now.Position.Index++
					if err := tx.Workspaces().Update(now); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	all.Wait()
	for _, one := range []meta.Workspace{w, v} {
		if err := s.Read(t.Context(), func(tx meta.Tx) error {
			now, err := tx.Workspaces().Get(one.Key.Organization, one.ID)
			if now.Position.Index != 2 {
				t.Errorf("%d writes are there, want 2", now.Position.Index)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoWriteWaitsForAnotherUnlessTheyLockTheSame(t *testing.T) {
	s, _ := newStore(t)
	w := newWorkspace(t, s)
	key := w.Key.Organization
	add := func(tx meta.Tx) error {
		if _, err := tx.Organizations().Lock(key, meta.Shared); err != nil {
			return err
		}
		if err := tx.Users().Add(key, meta.User{ID: id.New[id.User](), Email: id.New[id.User]().String()}); err != nil {
			return err
		}
		_, err := tx.Organizations().Stats(key) // which has the counters written
		return err
	}
	// Ten writes hold what they count, while ten others begin and end.
	var held, all sync.WaitGroup
	release := make(chan struct{})
	for range 10 {
		held.Add(1)
		hold := sync.OnceFunc(func() { held.Done(); <-release })
		all.Go(func() {
			if err := s.Write(t.Context(), func(tx meta.Tx) error {
				defer hold()
				return add(tx)
			}); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	held.Wait()
	for range 10 {
		write(t, s, add)
	}
	close(release)
	all.Wait()
	if err := s.Read(t.Context(), func(tx meta.Tx) error {
		stats, err := tx.Organizations().Stats(key)
		if stats.Users != 20 {
			t.Errorf("%d users are counted, want 20", stats.Users)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAWriteThatWaitsForALockEndsWithItsContext(t *testing.T) {
	s, _ := newStore(t)
	w := newWorkspace(t, s)
	lock := func(tx meta.Tx) error {
		_, _, err := tx.Workspaces().Lock(w.Key.Organization, w.ID)
		return err
	}
	write(t, s, func(tx meta.Tx) error {
		if err := lock(tx); err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		var other sync.WaitGroup
		defer other.Wait()
		other.Go(func() {
			if err := s.Write(ctx, lock); !fault.Is(err, fault.Canceled) {
				t.Errorf("got %v, want an error of kind %v", err, fault.Canceled)
			}
		})
		cancel(errors.New("the client has left"))
		return nil
	})
	write(t, s, lock)
}

func TestTheEndOfAContextBreaksNoCommitOff(t *testing.T) {
	s, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Write(ctx, func(tx meta.Tx) error {
		defer cancel()
		return create("Acme")(tx)
	}); err != nil {
		t.Errorf("write: %v", err)
	}
	if err := s.Read(t.Context(), find("Acme")); err != nil {
		t.Errorf("read: %v", err)
	}
}

func TestChainsThatAreBrokenAreNotTakenForShorterOnes(t *testing.T) {
	s, place := newStore(t)
	w := newWorkspace(t, s)
	e := id.New[id.Entry]()
	for n := uint64(1); n <= 3; n++ {
		write(t, s, func(tx meta.Tx) error {
			return tx.Entries().Put(w.Key, n, []meta.Change{{Entry: e, Number: n, Base: 1, Sealed: []byte("sealed")}})
		})
	}
	for _, lost := range []int{2, 1, 3} {
		execute(t, place, fmt.Sprintf("DELETE FROM manifests WHERE version = %d", lost))
		err := s.Read(t.Context(), func(tx meta.Tx) error {
			_, err := tx.Entries().Chains(w.Key, []id.Entry{e}, 1000)
			return err
		})
		if err == nil {
			t.Errorf("without version %d: there was no error", lost)
		}
	}
}
