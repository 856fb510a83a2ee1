package merge_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

func TestConflictNames(t *testing.T) {
	now := time.Date(2026, 11, 3, 23, 30, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		what, name, device string
		folder             bool
		taken              []string
		want               string
	}{
		{"a file", "a.txt", "laptop", false, nil, "a (conflict, laptop, 2026-11-03).txt"},
		{"a file without an extension", "a", "laptop", false, nil, "a (conflict, laptop, 2026-11-03)"},
		{"a hidden file", ".profile", "laptop", false, nil, ".profile (conflict, laptop, 2026-11-03)"},
		{"a folder has no extension", "v1.2", "laptop", true, nil, "v1.2 (conflict, laptop, 2026-11-03)"},
		{"an end too long for an extension", "a.this is no extension", "laptop", false, nil, "a.this is no extension (conflict, laptop, 2026-11-03)"},
		{"a suffix that is there", "a (conflict, desk, 2020-01-01, 7).txt", "laptop", false, nil, "a (conflict, laptop, 2026-11-03).txt"},
		{"a suffix with a dot", "a (conflict, x.y, 2020-01-01)", "laptop", false, nil, "a (conflict, laptop, 2026-11-03)"},
		{"what only looks like a suffix", "a (conflict, (x)).txt", "laptop", false, nil, "a (conflict, (x)) (conflict, laptop, 2026-11-03).txt"},
		{"a name that is taken", "a.txt", "laptop", false, []string{"a (conflict, laptop, 2026-11-03).txt"}, "a (conflict, laptop, 2026-11-03, 2).txt"},
		{"two names that are taken", "a", "laptop", false, []string{"a (conflict, laptop, 2026-11-03)", "a (conflict, laptop, 2026-11-03, 2)"}, "a (conflict, laptop, 2026-11-03, 3)"},
		{"a label that cannot stand in a name", "a", "../(x)\x00\n", false, nil, "a (conflict, ..x, 2026-11-03)"},
		{"a label of nothing", "a", "/", false, nil, "a (conflict, another device, 2026-11-03)"},
		{"a long name is cut", strings.Repeat("n", 255), "laptop", false, nil, strings.Repeat("n", 255-31) + " (conflict, laptop, 2026-11-03)"},
		{"a long name is cut between characters", strings.Repeat("é", 125) + ".txt", "laptop", false, nil, strings.Repeat("é", 110) + " (conflict, laptop, 2026-11-03).txt"},
	} {
		got, err := merge.ConflictName(c.name, c.folder, c.device, now, func(name string) (bool, error) {
			for _, t := range c.taken {
				if t == name {
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, want %q (%v)", c.what, got, c.want, err)
		}
	}
}

func FuzzConflictName(f *testing.F) {
	f.Add("a.txt", "laptop", false)
	f.Add(strings.Repeat("é", 127), strings.Repeat("ü", 100), true)
	f.Fuzz(func(t *testing.T, name, device string, folder bool) {
		if manifest.CheckName(name) != nil {
			return
		}
		tries := 0
		got, err := merge.ConflictName(name, folder, device, time.Unix(0, 0), func(string) (bool, error) {
			tries++
			return tries < 3, nil
		})
		if err != nil || manifest.CheckName(got) != nil || !utf8.ValidString(got) || !strings.Contains(got, ", 3)") {
			t.Errorf("got %q, %v", got, err)
		}
		again, err := merge.ConflictName(got, folder, device, time.Unix(0, 0), func(string) (bool, error) { return false, nil })
		if err != nil || strings.Count(again, " (conflict, ") > max(1, strings.Count(name, " (conflict, ")) {
			t.Errorf("the suffix of %q is not replaced in %q", got, again)
		}
	})
}
