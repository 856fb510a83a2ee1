package files_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/audit"
	"parsec/internal/client/files"
)

func TestTheLogNamesWhatWasRemoved(t *testing.T) {
	alice, tree := alone(t)
	mkdir(t, tree, "/a")
	put(t, tree, "/a/f", "content")
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/a", true) })
	told := func(p string) (all [][]string) {
		err := audit.Log(t.Context(), tree, p, func(e audit.Event) error {
			var changes []string
			for _, c := range e.Changes {
				changes = append(changes, c.What+" "+c.Path)
			}
			all = append(all, changes)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := [][]string{
		{"key generation 1 "},
		{"created /", "created /a"},
		{"changed /a", "created /a/f"},
		{"changed /", "removed /a", "removed /a/f"},
	}
	if diff := cmp.Diff(want, told("/")); diff != "" {
		t.Errorf("the log differs (-want +got):\n%s", diff)
	}
	put(t, tree, "/b", "other")
	if got := told("/b"); !slices.EqualFunc(got, [][]string{{"created /b"}}, slices.Equal) {
		t.Errorf("the log of one file is %q", got)
	}
}
