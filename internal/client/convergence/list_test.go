package convergence_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const checkout = "../../.."

// tests returns the names of the tests in a folder.
func tests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(checkout, dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	all := map[string]bool{}
	for _, path := range paths {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(read(t, path), -1) {
			all[m[1]] = true
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page that tells people what is tried names tests that there are, and all of
// luck_test.go with its variants.
func TestThePageOfMishapsNamesTheTests(t *testing.T) {
	page := read(t, filepath.Join(checkout, "docs/mishaps.md"))
	section := map[string]int{}
	named := map[string]bool{}
	for part := range strings.SplitSeq(page, "\n## ") {
		number, _, _ := strings.Cut(part, ".")
		for _, m := range regexp.MustCompile("- `([a-z/-]+)\\.(Test\\w+)`(?: with `(\\w+\\.txtar)`)?").FindAllStringSubmatch(part, -1) {
			section[number]++
			named[m[2]] = true
			if !tests(t, m[1])[m[2]] {
				t.Errorf("docs/mishaps.md names %s of %s, which does not exist", m[2], m[1])
			}
			if m[3] != "" {
				read(t, filepath.Join(checkout, m[1], "testdata", m[3]))
			}
		}
	}
	for n := range 14 {
		if section[strconv.Itoa(n+1)] == 0 {
			t.Errorf("docs/mishaps.md names no test of %d", n+1)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(read(t, "luck_test.go"), -1) {
		if !named[m[1]] {
			t.Errorf("docs/mishaps.md does not name %s", m[1])
		}
	}
	said := strings.Join(strings.Fields(page), " ")
	for _, m := range meetings {
		if !strings.Contains(said, m.name) {
			t.Errorf("docs/mishaps.md does not say: %s", m.name)
		}
	}
}
