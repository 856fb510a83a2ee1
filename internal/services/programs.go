package services

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs sees to it that programs can be run by their names: those that this
// machine does not have are installed, which takes root and Debian.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	script, err := find(filepath.Join("tools", "services", "programs.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(script, append([]string{"install"}, missing...)...); err != nil {
		t.Fatal(err)
	}
}
