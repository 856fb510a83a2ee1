package metatest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
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

func transactions(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"what was written is read":                                     writtenIsRead,
		"what a function that fails has written is undone":             failureIsUndone,
		"what a function that panics has written is undone":            panicIsUndone,
		"a transaction that was lost is not taken for done":            lostIsNotDone,
		"a batch that fails is undone as a whole":                      batchIsWhole,
		"a read sees one state whatever is written meanwhile":          readIsSnapshot,
		"a read writes nothing":                                        readWritesNothing,
		"a write whose context has ended does nothing":                 canceledDoesNothing,
		"writers that lock the same row do not lose each other's work": lockedRowLosesNothing,
		"a store that was closed answers nothing":                      closedAnswersNothing,
	})
	t.Run("what was written is there after closing and opening", func(t *testing.T) {
		place := a.New(t)
		s := a.open(t, place)
		s.write(t, create("Acme"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		a.open(t, place).read(t, find("Acme"))
	})
}

func writtenIsRead(t *testing.T, s *store) {
	s.missing(t, find("Acme"))
	s.write(t, func(tx meta.Tx) error {
		if err := create("Acme")(tx); err != nil {
			return err
		}
		return find("Acme")(tx)
	})
	s.read(t, find("Acme"))
}

func failureIsUndone(t *testing.T, s *store) {
	err := s.Write(t.Context(), func(tx meta.Tx) error {
		if err := create("Acme")(tx); err != nil {
			return err
		}
		return errRefused
	})
	if err != errRefused {
		t.Errorf("got %v, want the function's error as it is", err)
	}
	s.missing(t, find("Acme"))
	if err := s.Read(t.Context(), func(meta.Tx) error { return errRefused }); err != errRefused {
		t.Errorf("got %v, want the function's error as it is", err)
	}
}

func panicIsUndone(t *testing.T, s *store) {
	func() {
		defer func() {
			if got := recover(); got != "ouch" {
				t.Errorf("recovered %v, want the function's panic", got)
			}
		}()
		s.Write(t.Context(), func(tx meta.Tx) error {
			if err := create("Acme")(tx); err != nil {
				return err
			}
			panic("ouch")
		})
	}()
	s.missing(t, find("Acme"))
	func() {
		defer func() { recover() }()
		s.Read(t.Context(), func(meta.Tx) error { panic("ouch") })
	}()
	s.write(t, create("Acme"))
	s.read(t, find("Acme"))
}

func lostIsNotDone(t *testing.T, s *store) {
	s.write(t, create("Acme"))
	s.fails(t, fault.Conflict, func(tx meta.Tx) error {
		if err := create("Other")(tx); err != nil {
			return err
		}
		create("Acme")(tx) // fails, which goes unnoticed
		return nil
	})
	s.missing(t, find("Other"))
	s.write(t, func(tx meta.Tx) error {
		if err := find("Other")(tx); !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("find: got %w, want not found", err)
		}
		return create("Third")(tx)
	})
	s.read(t, find("Third"))
}

func batchIsWhole(t *testing.T, s *store) {
	w := s.workspace(t)
	records := chained(record.Position{}, "one", "two")
	s.fails(t, fault.Conflict, func(tx meta.Tx) error {
		return tx.Logs().Append(w.Log(), append(records, records[1]))
	})
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Logs().Since(w.Log(), 0, 1<<20)
		same(t, "records", got, []meta.Record(nil))
		return err
	})
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1})
}

func readIsSnapshot(t *testing.T, s *store) {
	s.read(t, func(tx meta.Tx) error {
		if err := find("Acme")(tx); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want not found", err)
		}
		var done sync.WaitGroup
		done.Go(func() {
			if err := s.Write(context.Background(), create("Acme")); err != nil {
				t.Errorf("write beside a read: %v", err)
			}
		})
		done.Wait()
		if err := find("Acme")(tx); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want not found", err)
		}
		return nil
	})
	s.read(t, find("Acme"))
}

func readWritesNothing(t *testing.T, s *store) {
	if err := s.Read(t.Context(), create("Acme")); err == nil {
		t.Error("a write inside a read succeeded")
	}
	if err := s.Read(t.Context(), func(tx meta.Tx) error { create("Acme")(tx); return nil }); err == nil {
		t.Error("a failed write inside a read went unnoticed")
	}
	s.missing(t, find("Acme"))
}

func canceledDoesNothing(t *testing.T, s *store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func(context.Context, func(meta.Tx) error) error{"write": s.Write, "read": s.Read} {
		ran := false
		err := call(ctx, func(meta.Tx) error { ran = true; return nil })
		if !fault.Is(err, fault.Canceled) || ran {
			t.Errorf("%s: got %v, ran: %t; want an error of kind %v and no run", name, err, ran, fault.Canceled)
		}
	}
}

func lockedRowLosesNothing(t *testing.T, s *store) {
	const writers, writes = 8, 10
	w := s.newWorkspace(t, s.newOrganization(t, "Acme"))
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for n := range writes {
				err := s.Write(context.Background(), func(tx meta.Tx) error {
					now, _, err := tx.Workspaces().Lock(w.Key.Organization, w.ID)
					if err != nil {
						return err
					}
					now.Position.Index++
					if err := tx.Workspaces().Update(now); err != nil || n%5 != 0 {
						return err
					}
					return errRefused
				})
				if err != nil && !errors.Is(err, errRefused) {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	all.Wait()
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Workspaces().Get(w.Key.Organization, w.ID)
		same(t, "count", got.Position.Index, uint64(writers*writes*4/5))
		return err
	})
}

func closedAnswersNothing(t *testing.T, s *store) {
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for name, call := range map[string]func(context.Context, func(meta.Tx) error) error{"write": s.Write, "read": s.Read} {
		if err := call(t.Context(), func(meta.Tx) error { return nil }); err == nil {
			t.Errorf("%s: a closed store answered", name)
		}
	}
}
