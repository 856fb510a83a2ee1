package webdav_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"github.com/studio-b12/gowebdav"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
	"parsec/internal/services"
)

// run runs a program in a folder and returns what it prints.
func (d *desk) run(dir, stdin, name string, args ...string) string {
	d.t.Helper()
	c := exec.CommandContext(d.t.Context(), name, args...)
	c.Dir, c.Stdin = dir, strings.NewReader(stdin)
	c.Env = append(c.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}

func TestLitmusFindsNothing(t *testing.T) {
	t.Parallel() // these mostly wait for others
	services.Programs(t, "litmus")
	d := alone(t)
	s, err := d.all.Find("plans")
	d.ok(err)
	one := d.serve(filesystem.Options{Workspace: s.ID()})
	out := d.run(t.TempDir(), "", "litmus", "-k", one+"/", "parsec", d.password)
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "FAIL") || strings.Contains(line, "WARNING") && !strings.Contains(line, "fragment") || strings.Contains(line, "SKIPPED") {
			t.Error(line)
		}
	}
	for _, group := range []string{"basic", "copymove", "props", "locks", "http"} {
		if !strings.Contains(out, "-> running `"+group+"'") {
			t.Errorf("the group %q did not run", group)
		}
	}
	t.Log(out)
}

// folder makes a folder with files as people have them, and returns them.
func folder(t *testing.T) (string, map[string]string) {
	t.Helper()
	big := make([]byte, 3<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(big)
	all := map[string]string{
		"notes.txt": "notes", "empty": "", "a b/c d & e's #1 100%.txt": "odd", "Übung/日本語.md": "unicode", "deep/er/and/deeper": "deep", "big": string(big),
	}
	dir := t.TempDir()
	for name, content := range all {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, all
}

// content returns all files below a path, as another face has them.
func (d *desk) content(p string) map[string]string {
	d.t.Helper()
	top, err := d.view.Find(d.t.Context(), p, false)
	d.ok(err)
	all := map[string]string{}
	d.ok(d.view.Walk(d.t.Context(), top, func(p string, a filesystem.Attr) error {
		if a.Kind == manifest.File {
			all[p] = d.read(a.Node)
		}
		return nil
	}))
	return all
}

func (d *desk) read(n filesystem.Node) string {
	d.t.Helper()
	h, err := d.view.Open(d.t.Context(), n, filesystem.Read)
	d.ok(err)
	a, err := h.Stat()
	d.ok(err)
	b := make([]byte, a.Size)
	_, err = h.ReadAt(d.t.Context(), b, 0)
	d.ok(err)
	d.ok(h.Close())
	return string(b)
}

func same(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %.1000s", what, diff)
	}
}

func TestRcloneCopiesThereAndBack(t *testing.T) {
	t.Parallel() // these mostly wait for others
	services.Programs(t, "rclone")
	d := alone(t)
	home := t.TempDir()
	obscured := strings.TrimSpace(d.run(home, d.password, "rclone", "obscure", "-"))
	rclone := func(args ...string) string {
		t.Helper()
		remote := []string{
			"--config", "/dev/null", "--webdav-url", d.url + "/plans", "--webdav-user", "parsec", "--webdav-pass", obscured,
			"--webdav-vendor", "owncloud", "--stats-one-line", "-v",
		}
		return d.run(home, "", "rclone", append(args, remote...)...)
	}
	dir, want := folder(t)
	rclone("copy", dir, ":webdav:up")
	same(t, "what was copied there", want, d.content("/plans/up"))
	if out := rclone("copy", dir, ":webdav:up"); !strings.Contains(out, "There was nothing to transfer") {
		t.Errorf("a second copy transferred something:\n%s", out)
	}
	rclone("check", dir, ":webdav:up", "--download")
	d.sync()
	back := t.TempDir()
	rclone("copy", ":webdav:up", back)
	same(t, "what came back", want, onDisk(t, back))
	rclone("moveto", ":webdav:up/notes.txt", ":webdav:up/deep/notes 2.txt")
	rclone("copyto", ":webdav:up/big", ":webdav:up/bigger")
	rclone("purge", ":webdav:up/a b")
	want["deep/notes 2.txt"], want["bigger"] = want["notes.txt"], want["big"]
	delete(want, "notes.txt")
	delete(want, "a b/c d & e's #1 100%.txt")
	same(t, "after changes on the other side", want, d.content("/plans/up"))
	if out := rclone("about", ":webdav:"); !strings.Contains(out, "Free:") {
		t.Errorf("no quota: %s", out)
	}
}

func onDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCadaverIsAtHome(t *testing.T) {
	t.Parallel() // these mostly wait for others
	services.Programs(t, "cadaver")
	d := alone(t)
	home := t.TempDir()
	d.ok(os.WriteFile(filepath.Join(home, ".netrc"), []byte("machine 127.0.0.1 login parsec password "+d.password+"\n"), 0o600))
	dir, want := folder(t)
	back := filepath.Join(home, "back")
	out := d.run(home, strings.Join([]string{
		"mkcol mine", "cd mine", "lcd " + dir, "put big", "put notes.txt", "lock notes.txt", "propset notes.txt colour red", "propget notes.txt colour",
		"put notes.txt", "unlock notes.txt", "copy notes.txt again.txt", "move again.txt moved.txt", "get big " + back, "ls", "quit",
	}, "\n")+"\n", "cadaver", d.url+"/plans/")
	if strings.Contains(out, "failed") || !strings.Contains(out, "Value of colour is: red") {
		t.Error(out)
	}
	same(t, "what cadaver put", map[string]string{"big": want["big"], "notes.txt": "notes", "moved.txt": "notes"}, d.content("/plans/mine"))
	if b, err := os.ReadFile(back); err != nil || string(b) != want["big"] {
		t.Errorf("what cadaver got: %d bytes, %v", len(b), err)
	}
}

func TestGowebdavDoesAllThatItCan(t *testing.T) {
	t.Parallel() // these mostly wait for others
	d := alone(t)
	c := gowebdav.NewClient(d.url, "parsec", d.password)
	d.ok(c.Connect())
	d.ok(c.MkdirAll("/plans/a/b c/d", 0o700))
	_, want := folder(t)
	d.ok(c.Write("/plans/a/b c/small", []byte("small"), 0o600))
	d.ok(c.WriteStream("/plans/a/big", strings.NewReader(want["big"]), 0o600))
	d.ok(c.Copy("/plans/a", "/plans/copy", false))
	d.ok(c.Rename("/plans/copy/big", "/plans/copy/b c/bigger", true))
	if err := c.Rename("/plans/a", "/plans/copy", false); err == nil {
		t.Error("a folder took the place of another one")
	}
	d.ok(c.Remove("/plans/a/b c/small"))
	r, err := c.ReadStreamRange("/plans/copy/b c/bigger", 1<<20, 5)
	d.ok(err)
	part, err := io.ReadAll(r)
	d.ok(err)
	if d.ok(r.Close()); string(part) != want["big"][1<<20:1<<20+5] {
		t.Errorf("a range: %q", part)
	}
	all, err := c.ReadDir("/plans/copy")
	d.ok(err)
	if len(all) != 1 || all[0].Name() != "b c" || !all[0].IsDir() {
		t.Errorf("list: %v", all)
	}
	info, err := c.Stat("/plans/a/big")
	d.ok(err)
	if info.Size() != 3<<20 || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("stat: %v, %v", info.Size(), info.ModTime())
	}
	same(t, "a", map[string]string{"big": want["big"]}, d.content("/plans/a"))
	same(t, "copy", map[string]string{"b c/bigger": want["big"], "b c/small": "small"}, d.content("/plans/copy"))
	d.ok(c.RemoveAll("/plans/copy"))
	if _, err := c.Stat("/plans/copy"); !gowebdav.IsErrNotFound(err) {
		t.Errorf("after it was removed: %v", err)
	}
}

// until waits for something that another process is about to do.
func (d *desk) until(done func() bool) {
	d.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !done(); <-tick.C {
		if time.Now().After(end) {
			d.t.Fatal("it does not happen")
		}
	}
}

// davfs mounts a folder with davfs2, and returns it and what unmounts it.
func (d *desk) davfs() (dir string, umount func()) {
	d.t.Helper()
	d.ok(sweep())
	// davfs2 is another user, who comes through no folder of a test.
	home, err := os.MkdirTemp("", davfsPrefix+strconv.Itoa(os.Getpid())+"-")
	d.ok(err)
	d.ok(os.Chmod(home, 0o755))
	d.t.Cleanup(func() { d.ok(os.RemoveAll(home)) })
	dir = filepath.Join(home, "mounted")
	secrets, conf := filepath.Join(home, "secrets"), filepath.Join(home, "conf")
	cache := filepath.Join(home, "cache")
	d.ok(errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(cache, 0o700), os.Chmod(cache, 0o777)))
	d.ok(os.WriteFile(secrets, []byte(d.url+"/ parsec "+d.password+"\n"), 0o600))
	d.ok(os.WriteFile(conf, []byte("secrets "+secrets+"\nask_auth 0\ndelay_upload 0\nuse_locks 1\nfile_refresh 0\ndir_refresh 1\ncache_dir "+cache+"\n"), 0o600))
	d.run(home, "", "mount.davfs", d.url+"/", dir, "-o", "conf="+conf)
	umount = sync.OnceFunc(func() { d.run("/", "", "umount", dir) }) // it waits for the uploads
	d.t.Cleanup(func() {
		// A test that has failed has no context any more, and may not wait for uploads.
		if mounted, err := mountinfo.Mounted(dir); err == nil && mounted {
			d.ok(unmountNow(dir))
		}
	})
	return dir, umount
}

// davfsPrefix is what the names of the folders below which davfs2 is mounted begin
// with, before the number of the process.
const davfsPrefix = "parsec-davfs-"

// sweep unmounts what tests have left that were killed.
func sweep() error {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), davfsPrefix+"*-*"))
	for _, home := range all {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(home), davfsPrefix), "-")
		number, bad := strconv.Atoi(text)
		if bad != nil {
			continue
		}
		if process, gone := os.FindProcess(number); gone == nil && process.Signal(syscall.Signal(0)) == nil {
			continue
		}
		dir := filepath.Join(home, "mounted")
		if mounted, unknown := mountinfo.Mounted(dir); unknown != nil || mounted {
			err = errors.Join(err, unmountNow(dir))
		}
		err = errors.Join(err, os.RemoveAll(home))
	}
	return err
}

// unmountNow takes a mount away, whatever its process still has to do.
func unmountNow(dir string) error {
	out, err := exec.Command("umount", "-i", "-l", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unmount %s: %w\n%s", dir, err, out)
	}
	return nil
}

func TestDavfs2MountsAndWrites(t *testing.T) {
	t.Parallel() // these mostly wait for others
	services.Programs(t, "mount.davfs")
	d := alone(t)
	from, want := folder(t)
	dir, umount := d.davfs()
	d.run("/", "", "cp", "-r", from, filepath.Join(dir, "plans", "up"))
	same(t, "as the mount has it", want, onDisk(t, filepath.Join(dir, "plans", "up")))
	d.run("/", "", "mv", filepath.Join(dir, "plans", "up", "notes.txt"), filepath.Join(dir, "plans", "moved.txt"))
	umount()
	got := d.content("/plans")
	if got["moved.txt"] != "notes" || len(got) != len(want) || got["up/big"] != want["big"] {
		t.Errorf("the workspace has %d files, want %d", len(got), len(want))
	}
	d.sync()
	before, err := d.view.Find(t.Context(), "/plans/moved.txt", false)
	d.ok(err)

	dir, umount = d.davfs()
	same(t, "mounted again", got, onDisk(t, filepath.Join(dir, "plans")))
	want["moved.txt"] = "notes"
	for i := range 3 { // an ETag that moved with the commit would make the second write a conflict
		d.run("/", "", "sh", "-c", "echo again >>"+filepath.Join(dir, "plans", "moved.txt"))
		want["moved.txt"] += "again\n"
		d.until(func() bool { return d.read(before.Node) == want["moved.txt"] })
		if i == 0 {
			d.sync()
		}
	}
	umount()
	now, err := d.view.Find(t.Context(), "/plans/moved.txt", false)
	d.ok(err)
	if now.Node != before.Node || d.read(now.Node) != "notesagain\nagain\nagain\n" {
		t.Errorf("the file went on as %v, %q", now.Node == before.Node, d.read(now.Node))
	}
}
