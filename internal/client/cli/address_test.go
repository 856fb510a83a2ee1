package cli

import (
	"testing"

	"parsec/internal/base/fault"
)

func TestAnArgumentIsLocalInAWorkspaceOrAStream(t *testing.T) {
	for _, c := range []struct {
		name, text, system string
		workspace, path    string
		stream             bool
	}{
		{"a path in a workspace", "ws:/a/b", "linux", "ws", "/a/b", false},
		{"its root folder", "ws:", "linux", "ws", "", false},
		{"a path without its first slash", "ws:a", "linux", "ws", "a", false},
		{"only the first colon counts", "ws:a:b", "linux", "ws", "a:b", false},
		{"a workspace with spaces", "our plans:/", "linux", "our plans", "/", false},
		{"a local path", "a/b", "linux", "", "a/b", false},
		{"a local name with a colon behind a slash", "./a:b", "linux", "", "./a:b", false},
		{"a name that begins with a colon", ":a", "linux", "", ":a", false},
		{"an empty argument", "", "linux", "", "", false},
		{"a stream", "-", "linux", "", "", true},
		{"one letter is a workspace", "C:/a", "linux", "C", "/a", false},
		{"but a drive on Windows", `C:\a`, "windows", "", `C:\a`, false},
		{"a path with a colon on Windows", `a\b:c`, "windows", "", `a\b:c`, false},
		{"a workspace on Windows", "ws:/a", "windows", "ws", "/a", false},
	} {
		a := parseAddress(c.text, c.system)
		if a.workspace != c.workspace || a.path != c.path || a.stream != c.stream {
			t.Errorf("%s: %q is %+v", c.name, c.text, a)
		}
		kinds := 0
		for _, is := range []bool{a.remote(), a.local(), a.stream} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			t.Errorf("%s: %q is %d things at once", c.name, c.text, kinds)
		}
		if _, err := parseRemote(c.text, c.system); (err == nil) != a.remote() || err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("%s: as a path in a workspace: %v", c.name, err)
		}
	}
}

func TestADotMeansWhatIsInAFolder(t *testing.T) {
	for path, want := range map[string]bool{
		".": true, "..": true, "a/.": true, "a/..": true, "/.": true,
		"a": false, "a/": false, "a.": false, ".a": false, "": false, "/": false, "a/...": false,
	} {
		if got := endsInDot(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
}
