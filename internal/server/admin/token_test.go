package admin_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/admin"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/server/servertest"
)

func newStore(t *testing.T) meta.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "meta")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestOneTokenIsLetInUntilItIsReplaced(t *testing.T) {
	tokens := admin.NewTokens(newStore(t), time.Now)
	ctx := t.Context()
	check := func(token string, want fault.Kind) id.AdminToken {
		t.Helper()
		who, err := tokens.Check(ctx, token)
		if want != fault.Failed || err != nil {
			servertest.Kind(t, "check", err, want)
		}
		return who
	}
	adopt := func(token string, want bool) {
		t.Helper()
		if got, err := tokens.Adopt(ctx, token); err != nil || got != want {
			t.Errorf("adopt: %v, %v; want %v", got, err, want)
		}
	}
	first, second, third := admin.NewToken(), admin.NewToken(), admin.NewToken()
	check("", fault.Unauthenticated)
	check(first, fault.Unauthenticated)
	adopt(first, true)
	adopt(first, true)
	adopt(second, false)
	who := check(first, fault.Failed)
	check(second, fault.Unauthenticated)
	check("", fault.Unauthenticated)

	next, err := tokens.Rotate(ctx, who, admin.Hash(second))
	if err != nil {
		t.Fatal(err)
	}
	check(first, fault.Unauthenticated)
	if got := check(second, fault.Failed); got != next || got == who {
		t.Errorf("the token has the id %v, want %v", got, next)
	}
	adopt(first, false)
	_, err = tokens.Rotate(ctx, who, admin.Hash(third))
	servertest.Kind(t, "rotate what is rotated", err, fault.Unauthenticated)
	_, err = tokens.Rotate(ctx, next, admin.Hash(first))
	servertest.Kind(t, "rotate back", err, fault.Conflict)
	check(second, fault.Failed)

	for range 2 {
		if err := tokens.Reset(ctx, third); err != nil {
			t.Fatal(err)
		}
		check(second, fault.Unauthenticated)
		check(third, fault.Failed)
	}
}

func TestOfServersThatStartAtOnceOneMakesTheToken(t *testing.T) {
	tokens := admin.NewTokens(newStore(t), time.Now)
	var all sync.WaitGroup
	valid := make([]bool, 4)
	for i := range valid {
		all.Go(func() {
			var err error
			if valid[i], err = tokens.Adopt(t.Context(), admin.NewToken()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for _, v := range valid {
		if v {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d tokens are valid", n)
	}
}
