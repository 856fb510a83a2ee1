package basecache_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// counted is a base that counts how often it is asked.
type counted struct {
	asked  int
	states map[id.Entry]merge.State
	kids   map[id.Entry][]manifest.Child
	// during is called while it is asked.
	during func()
}

func (b *counted) ask() {
	b.asked++
	if b.during != nil {
		b.during()
	}
}

func (b *counted) Entry(_ context.Context, e id.Entry) (merge.State, error) {
	defer b.ask() // what is returned is of before
	return b.states[e], nil
}

func (b *counted) Entries(_ context.Context, entries []id.Entry) ([]merge.State, error) {
	b.ask()
	all := make([]merge.State, len(entries))
	for i, e := range entries {
		all[i] = b.states[e]
	}
	return all, nil
}

func (b *counted) Child(_ context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	b.ask()
	for _, c := range b.kids[folder] {
		if c.Name == name {
			return c, true, nil
		}
	}
	return manifest.Child{}, false, nil
}

func (b *counted) Children(_ context.Context, folder id.Entry) ([]manifest.Child, error) {
	b.ask()
	return b.kids[folder], nil
}

func (b *counted) Parent(context.Context, id.Entry) (merge.Place, bool, error) {
	b.ask()
	return merge.Place{}, true, nil
}

func setUp(n int) (*counted, *basecache.Cache, id.Entry, []id.Entry) {
	b := &counted{states: map[id.Entry]merge.State{}, kids: map[id.Entry][]manifest.Child{}}
	folder, entries := id.New[id.Entry](), make([]id.Entry, n)
	for i := range entries {
		entries[i] = id.New[id.Entry]()
		b.states[entries[i]] = merge.State{Version: uint64(i + 1)}
		b.kids[folder] = append(b.kids[folder], manifest.Child{Name: string(rune('a' + i)), Entry: entries[i], Kind: manifest.File})
	}
	return b, basecache.New(b), folder, entries
}

func TestWhatWasAskedIsNotAskedAgain(t *testing.T) {
	b, c, folder, entries := setUp(3)
	ctx := t.Context()
	for range 3 {
		if err := c.Ahead(ctx, entries); err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if s, err := c.Entry(ctx, e); err != nil || s.Version != uint64(i+1) {
				t.Fatalf("entry %d: version %d, %v", i, s.Version, err)
			}
		}
		all, err := c.Children(ctx, folder)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.kids[folder], all); diff != "" {
			t.Fatal(diff)
		}
		if child, ok, err := c.Child(ctx, folder, "b"); err != nil || !ok || child.Entry != entries[1] {
			t.Fatalf("child: %v, %v, %v", child, ok, err)
		}
		if _, ok, err := c.Child(ctx, folder, "x"); err != nil || ok {
			t.Fatalf("a name that is not there: %v, %v", ok, err)
		}
	}
	if b.asked != 2 {
		t.Errorf("the base was asked %d times, want once for the entries and once for the folder", b.asked)
	}
}

func TestWhatIsForgottenIsAskedAnew(t *testing.T) {
	b, c, folder, entries := setUp(2)
	ctx := t.Context()
	look := func() (uint64, int) {
		t.Helper()
		s, err := c.Look(ctx, entries[0])
		if err != nil {
			t.Fatal(err)
		}
		all, err := c.Children(ctx, folder)
		if err != nil {
			t.Fatal(err)
		}
		return s.Version, len(all)
	}
	look()
	b.states[entries[0]] = merge.State{Version: 7}
	b.kids[folder] = b.kids[folder][:1]
	if v, n := look(); v != 1 || n != 2 {
		t.Errorf("before: version %d, %d names", v, n)
	}
	epoch := c.Epoch()
	if c.Forget(entries[0], folder); c.Epoch() == epoch {
		t.Error("the epoch stayed")
	}
	if v, n := look(); v != 7 || n != 1 {
		t.Errorf("after: version %d, %d names", v, n)
	}
	b.states[entries[0]] = merge.State{Version: 8}
	c.Forget()
	if v, _ := look(); v != 8 {
		t.Errorf("after everything was forgotten: version %d", v)
	}
}

func TestAnAnswerOfBeforeIsNotKept(t *testing.T) {
	b, c, _, entries := setUp(1)
	b.during = func() {
		b.during = nil
		b.states[entries[0]] = merge.State{Version: 9}
		c.Forget(entries[0])
	}
	if s, err := c.Entry(t.Context(), entries[0]); err != nil || s.Version != 1 {
		t.Fatalf("version %d, %v", s.Version, err)
	}
	if s, err := c.Entry(t.Context(), entries[0]); err != nil || s.Version != 9 {
		t.Errorf("version %d, %v: it kept what was so before", s.Version, err)
	}
}

func TestItStaysWithinItsLimits(t *testing.T) {
	b, c, _, _ := setUp(0)
	ctx := t.Context()
	entries := make([]id.Entry, 150_000)
	for i := range entries {
		entries[i] = id.New[id.Entry]()
	}
	if err := c.Ahead(ctx, entries); err != nil {
		t.Fatal(err)
	}
	b.asked = 0
	for _, e := range entries {
		if _, err := c.Entry(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if b.asked < 50_000 {
		t.Errorf("it remembered all but %d of %d", b.asked, len(entries))
	}
}
