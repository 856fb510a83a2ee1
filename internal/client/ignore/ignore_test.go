package ignore_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/ignore"
	"parsec/internal/client/store"
)

// opened returns a list, and what opens it again.
func opened(t *testing.T) (*ignore.List, func() *ignore.List) {
	t.Helper()
	var key secret.Key
	rand.Read(key[:])
	s, err := store.Create(t.Context(), t.TempDir(), id.New[id.Device](), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	open := func() *ignore.List {
		t.Helper()
		l, err := ignore.Open(t.Context(), s.State)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	return open(), open
}

func TestAListIsAsItWasLeft(t *testing.T) {
	l, again := opened(t)
	expect := func(when string, want []string) {
		t.Helper()
		for _, l := range []*ignore.List{l, again()} {
			if diff := cmp.Diff(want, l.Patterns()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("in the beginning", ignore.Defaults())
	must(l.Add(t.Context(), "*.tmp", ".DS_Store", "*.tmp"))
	expect("with one more", append(ignore.Defaults(), "*.tmp"))
	must(l.Remove(t.Context(), ignore.Defaults()...))
	expect("with one alone", []string{"*.tmp"})
	must(l.Remove(t.Context(), "*.tmp"))
	if got := again().Patterns(); len(got) > 0 || again().Has(".DS_Store") {
		t.Errorf("an empty list has %q", got)
	}
	must(l.Reset(t.Context()))
	expect("after a reset", ignore.Defaults())
}

func TestWhatIsNoPatternIsRefusedAndChangesNothing(t *testing.T) {
	for _, tt := range []struct{ name, pattern string }{
		{"an open bracket", "[a"},
		{"a path", "a/b"},
		{"nothing", ""},
		{"every name", "**"},
		{"more than a name is long", strings.Repeat("l", ignore.MaxLength+1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := opened(t)
			if err := l.Add(t.Context(), "*.tmp", tt.pattern); !fault.Is(err, fault.Usage) {
				t.Errorf("adding it gives %v", err)
			}
			if err := l.Remove(t.Context(), ".DS_Store", tt.pattern); !fault.Is(err, fault.NotFound) {
				t.Errorf("removing it gives %v", err)
			}
			if diff := cmp.Diff(ignore.Defaults(), l.Patterns()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheDefaultsAreTemporaryFilesAlone(t *testing.T) {
	l, _ := opened(t)
	for name, want := range map[string]bool{
		".DS_Store": true, "._plan.txt": true, "Thumbs.db": true, "~$plan.docx": true, ".~lock.plan.odt#": true,
		".plan.txt.swp": true, "plan.txt~": true, "#plan.txt#": true, ".#plan.txt": true, ".fuse_hidden0001": true,
		"plan.txt": false, ".gitignore": false, "x.tmp": false, "~": true, "a#b": false, ".swp": false, "tilde~a": false,
	} {
		if got := l.Has(name); got != want {
			t.Errorf("whether %q is ignored is %v", name, got)
		}
	}
}
