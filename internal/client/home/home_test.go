package home_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/home"
)

// The environment of a second process: which device to hold, where, and as whom.
const (
	childHome   = "PARSEC_TEST_HOME"
	childDevice = "PARSEC_TEST_DEVICE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childHome); dir != "" {
		hold(dir)
	}
	os.Exit(m.Run())
}

// hold is the second process: it says when it holds the device, and holds it
// until its input ends.
func hold(dir string) {
	d, err := id.Parse[id.Device](os.Getenv(childDevice))
	if err == nil {
		_, err = home.Hold(dir, d, home.Holder{Command: "parsec cp", Process: os.Getpid(), Since: since()})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func since() time.Time { return time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC) }

func me() home.Holder {
	return home.Holder{Command: "parsec ls", Process: os.Getpid(), Since: since()}
}

func TestASecondProcessIsToldWhoHoldsTheDevice(t *testing.T) {
	dir, d := t.TempDir(), id.New[id.Device]()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childHome+"="+dir, childDevice+"="+d.String())
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the second process says %q, %v", line, err)
	}

	_, err = home.Hold(dir, d, me())
	want := fmt.Sprintf(`in use by "parsec cp" (process %d) since %s`, child.Process.Pid, since().Local().Format(time.DateTime))
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
		t.Errorf("got %v (hint %q), want a conflict: %s", err, fault.HintOf(err), want)
	}
	other, err := home.Hold(dir, id.New[id.Device](), me())
	if err != nil {
		t.Errorf("another device of the home: %v", err)
	} else if err := other.Release(); err != nil {
		t.Error(err)
	}

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	claim, err := home.Hold(dir, d, me())
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	if err := claim.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestADeviceIsHeldUntilItIsReleased(t *testing.T) {
	dir, d := t.TempDir(), id.New[id.Device]()
	for range 3 {
		claim, err := home.Hold(dir, d, me())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := home.Hold(dir, d, me()); !fault.Is(err, fault.Conflict) {
			t.Errorf("held twice: %v", err)
		}
		if err := claim.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUnknownHolderIsStillAConflict(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"the holder's file is missing": os.Remove,
		"the holder's file is garbage": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		dir, d := t.TempDir(), id.New[id.Device]()
		claim, err := home.Hold(dir, d, me())
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(filepath.Join(claim.Folder(), "holder")); err != nil {
			t.Fatal(err)
		}
		if _, err := home.Hold(dir, d, me()); !fault.Is(err, fault.Conflict) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if err := claim.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADeviceFolderIsPrivateAndRemovedWhole(t *testing.T) {
	dir, d := filepath.Join(t.TempDir(), "new", "home"), id.New[id.Device]()
	claim, err := home.Hold(dir, d, me())
	if err != nil {
		t.Fatal(err)
	}
	if claim.Folder() != home.Folder(dir, d) {
		t.Errorf("folder %s, want %s", claim.Folder(), home.Folder(dir, d))
	}
	for path := claim.Folder(); path != filepath.Dir(dir); path = filepath.Dir(path) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	for _, name := range []string{"lock", "holder"} {
		if info, err := os.Stat(filepath.Join(claim.Folder(), name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	var by home.Holder
	text, err := os.ReadFile(filepath.Join(claim.Folder(), "holder"))
	if err != nil || json.Unmarshal(text, &by) != nil || by != me() {
		t.Errorf("the holder is %s, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(claim.Folder(), "state.db"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := claim.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(claim.Folder()); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestAnOpenFolderIsMadePrivate(t *testing.T) {
	dir, d := t.TempDir(), id.New[id.Device]()
	if err := os.MkdirAll(home.Folder(dir, d), 0o755); err != nil {
		t.Fatal(err)
	}
	claim, err := home.Hold(dir, d, me())
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	if info, err := os.Stat(claim.Folder()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTheDefaultHomeFollowsTheSystem(t *testing.T) {
	for _, c := range []struct {
		name, system string
		environment  map[string]string
		want         string
	}{
		{"the data folder of the person's choice", "linux", map[string]string{"XDG_DATA_HOME": "/data", "HOME": "/home/a"}, "/data/parsec"},
		{"the usual data folder", "linux", map[string]string{"HOME": "/home/a"}, "/home/a/.local/share/parsec"},
		{"a relative choice is ignored", "freebsd", map[string]string{"XDG_DATA_HOME": "data", "HOME": "/home/a"}, "/home/a/.local/share/parsec"},
		{"a Mac", "darwin", map[string]string{"HOME": "/Users/a", "XDG_DATA_HOME": "/data"}, "/Users/a/Library/Application Support/parsec"},
		{"Windows", "windows", map[string]string{"LOCALAPPDATA": "/Users/a/AppData/Local"}, "/Users/a/AppData/Local/parsec"},
		{"no environment", "linux", nil, ""},
	} {
		got, err := home.Default(c.system, func(name string) string { return c.environment[name] })
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
		if err != nil && (!fault.Is(err, fault.Usage) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v has no kind or hint", c.name, err)
		}
	}
}
