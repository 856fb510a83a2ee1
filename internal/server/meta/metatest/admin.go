package metatest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

func adminTokens(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"one token is valid at a time":          oneAdminTokenIsValid,
		"of rotations at once one takes effect": oneRotationTakesEffect,
	})
}

func newAdminToken(n byte) meta.AdminToken {
	return meta.AdminToken{ID: id.AdminToken{n}, Hash: [32]byte{n, 1}, Created: int64(n)}
}

func (s *store) validIs(t *testing.T, want meta.AdminToken) {
	t.Helper()
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.AdminTokens().Valid()
		same(t, "the valid token", got, want)
		return err
	})
}

func oneAdminTokenIsValid(t *testing.T, s *store) {
	first, second := newAdminToken(1), newAdminToken(2)
	valid := func(tx meta.Tx) error { _, err := tx.AdminTokens().Valid(); return err }
	s.missing(t, valid)
	s.write(t, func(tx meta.Tx) error { return tx.AdminTokens().Add(first) })
	s.validIs(t, first)
	s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.AdminTokens().Add(second) })
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { return tx.AdminTokens().Revoke(second.ID, 5) })
	s.write(t, func(tx meta.Tx) error {
		return errors.Join(tx.AdminTokens().Revoke(first.ID, 5), tx.AdminTokens().Add(second))
	})
	s.validIs(t, second)
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { return tx.AdminTokens().Revoke(first.ID, 6) })
	s.write(t, func(tx meta.Tx) error { return tx.AdminTokens().Revoke(second.ID, 6) })
	s.missing(t, valid)
	for _, used := range []meta.AdminToken{{ID: id.AdminToken{3}, Hash: first.Hash}, {ID: second.ID, Hash: [32]byte{3}}} {
		s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.AdminTokens().Add(used) })
	}
}

func oneRotationTakesEffect(t *testing.T, s *store) {
	s.write(t, func(tx meta.Tx) error { return tx.AdminTokens().Add(newAdminToken(100)) })
	var all sync.WaitGroup
	var took atomic.Int32
	for n := range byte(4) {
		all.Go(func() {
			err := s.Write(t.Context(), func(tx meta.Tx) error {
				if err := tx.AdminTokens().Revoke(id.AdminToken{100}, 5); err != nil {
					return err
				}
				return tx.AdminTokens().Add(newAdminToken(n))
			})
			if err == nil {
				took.Add(1)
			} else if !fault.Is(err, fault.NotFound) {
				t.Errorf("rotation %d: %v", n, err)
			}
		})
	}
	all.Wait()
	same(t, "rotations that took effect", took.Load(), int32(1))
}

func audit(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"the trail is listed as it was written": trailIsListed,
	})
}

func trailIsListed(t *testing.T, s *store) {
	var want []meta.Deed
	for n := byte(1); n <= 4; n++ {
		d := meta.Deed{
			At: era + 10*int64(n), Act: id.Act{n}, Token: id.AdminToken{n, 1}, What: "create organization", Subject: "Acme", Outcome: "begun",
		}
		s.write(t, func(tx meta.Tx) error { return tx.Audit().Append(d) })
		d.Number = int64(n)
		want = append(want, d)
	}
	list := func(since, after int64, limit int, want []meta.Deed) {
		t.Helper()
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Audit().List(since, after, limit)
			same(t, "trail", got, want)
			return err
		})
	}
	list(0, 0, 3, want[:3])
	list(0, 3, 3, want[3:])
	list(era+20, 0, 10, want[1:])
	list(era+21, 2, 10, want[2:])
	list(era+50, 0, 10, want[:0])
}
