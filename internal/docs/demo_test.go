package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDemonstration runs what `make demo` runs, with the small folder that
// it makes by itself. It ends well only if everything it tells is so.
func TestTheDemonstration(t *testing.T) {
	bin, temporary := programs(t), t.TempDir()
	demo := exec.CommandContext(t.Context(), filepath.Join(bin, "parsec"), "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+temporary)
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "\n"); n < 15 || n > 25 {
		t.Errorf("it tells %d lines; a person reads some twenty", n)
	}
	for _, told := range []string{"every byte, mode and time", "key generation 2", "broken promise (no rollback)"} {
		if !strings.Contains(string(out), told) {
			t.Errorf("it does not tell %q:\n%s", told, out)
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
		t.Errorf("it left %v behind, %v", left, err)
	}
}
