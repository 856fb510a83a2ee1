package limit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/limit"
)

func TestMemoryIsTakenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limit.NewMemory(10, 1)
		release, err := m.Take(t.Context(), 8)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			release, err := m.Take(t.Context(), 100)
			if err == nil {
				release()
			}
			got <- err
		}()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("more memory was handed out than there is")
		}
		if _, err := m.Take(t.Context(), 8); !fault.Is(err, fault.Busy) {
			t.Fatalf("with a full line: got %v, want %v", err, fault.Busy)
		}
		release()
		release()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if _, err := m.Take(t.Context(), 10); err != nil {
			t.Fatalf("memory did not come back, or twice: %v", err)
		}
	})
}

func TestWhoWaitsForMemoryGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limit.NewMemory(1, 5)
		if _, err := m.Take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Take(ctx, 1); !fault.Is(err, fault.Unreachable) {
			t.Fatalf("got %v, want %v", err, fault.Unreachable)
		}
	})
}

func TestEachCallerHasItsOwnRate(t *testing.T) {
	r := limit.NewRates[string](10, 2)
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name   string
		caller string
		after  time.Duration
		want   bool
	}{
		{"the first of a burst", "a", 0, true},
		{"the second of a burst", "a", 0, true},
		{"beyond the burst", "a", 0, false},
		{"somebody else", "b", 0, true},
		{"a tenth of a second later", "a", 100 * time.Millisecond, true},
		{"and at once again", "a", 100 * time.Millisecond, false},
	} {
		err := r.Allow(c.caller, now.Add(c.after))
		if (err == nil) != c.want || err != nil && !fault.Is(err, fault.Busy) {
			t.Errorf("%s: got %v, want allowed %v", c.name, err, c.want)
		}
	}
}

func TestQuietCallersAreForgotten(t *testing.T) {
	r := limit.NewRates[int](1, 1)
	now := time.Unix(1000, 0)
	for i := range 100_000 {
		r.Allow(i, now.Add(time.Duration(i)*time.Millisecond))
	}
	if got := r.Callers(); got > 4096 {
		t.Errorf("%d callers are remembered, want those of the last second", got)
	}
}
