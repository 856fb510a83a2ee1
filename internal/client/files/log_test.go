package files_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/files"
)

func TestTheLogNamesWhatWasRemoved(t *testing.T) {
	_, tree := alone(t)
	if err := tree.Mkdir(t.Context(), "/a", false); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "/a/f", "content")
	if err := tree.Remove(t.Context(), "/a", true); err != nil {
		t.Fatal(err)
	}
	told := func(p string) (all [][]string) {
		err := tree.Log(t.Context(), p, func(e files.Event) error {
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
