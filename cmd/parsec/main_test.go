package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"

	"parsec/internal/api/parsecv1"
	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/client/mount"
	"parsec/internal/server/servertest"
)

// The program runs with the system's keyring, or in scripts that are not about
// passwords with one in a folder: a password takes its time, on purpose.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"parsec": func() {
		if dir := os.Getenv("TEST_KEYRING"); dir != "" {
			os.Exit(run(keyring(dir)))
		}
		main()
	}})
}

// noRaceSleep has a process that looks for races end at once; the default is to
// sleep a second first, which many short processes add up.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// keyring is a folder with a file for each key.
type keyring string

var _ device.Keyring = keyring("")

// Get implements [device.Keyring].
func (k keyring) Get(name string) (string, error) {
	value, err := os.ReadFile(filepath.Join(string(k), name))
	if errors.Is(err, fs.ErrNotExist) {
		err = device.ErrNoKey
	}
	return string(value), err
}

// Set implements [device.Keyring].
func (k keyring) Set(name, value string) error {
	return os.WriteFile(filepath.Join(string(k), name), []byte(value), 0o600)
}

// Delete implements [device.Keyring].
func (k keyring) Delete(name string) error { return os.Remove(filepath.Join(string(k), name)) }

// TestScripts runs each script against a server of its own, which has the
// organizations Acme and Other waiting to be bootstrapped: $ACME and $OTHER are
// their links.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { runScript(t, path, "") })
	}
}

// runScript runs a script against a server over the database at a URL, or over
// an embedded one.
func runScript(t *testing.T, path, database string) {
	s := &script{t: t, database: database, server: servertest.Start(t, servertest.Config{Database: database})}
	testscript.Run(t, testscript.Params{
		Files: []string{path},
		Setup: s.setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "get": get, "keys": keys, "enroll": enroll, "hold": hold, "sealed": sealed, "await-holder": awaitHolder, "kill-agent": killAgent, "await-mount": awaitMount, "await-served": awaitServed, "dav": dav,
			"stop-server": s.stop, "start-server": s.start, "start-empty-server": s.startEmpty,
			"operator": s.operator, "backup-server": s.backup, "restore-server": s.restore,
			"damage-blocks": s.damage, "empty-database": s.emptyDatabase,
		},
	})
}

// script is what one script has to itself.
type script struct {
	t      *testing.T
	server *servertest.Server
	saved  string
	// database is the URL of the server's PostgreSQL database; empty for an embedded one.
	database string
}

func (s *script) setup(env *testscript.Env) error {
	work, acme := env.Getenv("WORK"), s.server.CreateOrganization("Acme")
	page := httptest.NewServer(http.FileServerFS(os.DirFS("testdata")))
	s.t.Cleanup(page.Close)
	env.Vars = append(env.Vars,
		"HOME="+work, "TZ=UTC", "LONG="+strings.Repeat("long", 64),
		"SERVER="+s.server.URL, "DATABASE="+s.database, "BLOCKS="+filepath.Join(s.server.Dir, "blocks"), "SERVER_DATA="+s.server.Dir,
		"ACME="+acme, "OTHER="+s.server.CreateOrganization("Other"),
		"NO_PARSEC="+strings.Replace(acme, s.server.URL, page.URL, 1),
		"PARSEC_HOME="+filepath.Join(work, "alice"),
		"TEST_KEYRING="+work+"/keyring", "PARSEC_KEYRING=true", noRaceSleep,
	)
	env.Defer(func() {
		killAgents(work)
		_ = mount.Unmount(filepath.Join(work, "drive")) // what a script that failed left behind
	})
	return os.Mkdir(work+"/keyring", 0o700)
}

// awaitMount waits until a folder is mounted.
func awaitMount(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		all, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(ts.MkAbs(args[0])))
		ts.Check(err)
		if len(all) > 0 {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s is not mounted", args[0])
}

// killAgents ends agents that a script left in the background.
func killAgents(work string) {
	found, _ := filepath.Glob(filepath.Join(work, "*", "local", "*", "holder"))
	for _, path := range found {
		var h home.Holder
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &h) != nil || !h.Stays || h.Process == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(h.Process); err == nil {
			_ = p.Kill() // it may have ended by itself
		}
	}
}

// killAgent kills the agent of a home without a warning, and waits until its
// lock is free.
func killAgent(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	all, err := device.List(dir)
	ts.Check(err)
	killAgents(filepath.Dir(dir))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		claim, err := home.Hold(dir, all[0].Device, home.Holder{Command: "test", Process: os.Getpid()})
		if err == nil {
			// Only the lock is given back: everything else stays as the killed process left it.
			ts.Check(claim.Release())
			return
		}
		<-tick.C
	}
	ts.Fatalf("the device in %s is still held", args[0])
}

// stop stops the server.
func (s *script) stop(*testscript.TestScript, bool, []string) { s.server.Stop() }

// start starts it again, as if it had never been away.
func (s *script) start(*testscript.TestScript, bool, []string) { s.startIn(s.server.Dir) }

// startEmpty starts another server under the same address.
func (s *script) startEmpty(*testscript.TestScript, bool, []string) { s.startIn("") }

func (s *script) startIn(dir string) {
	s.server = servertest.Start(s.t, servertest.Config{Dir: dir, Database: s.database, Listen: strings.TrimPrefix(s.server.URL, "http://")})
}

// operator suspends a user of Acme, or all of it, or lets them in again, or
// limits how many bytes it may store:
//
//	operator limit BYTES
//	operator freeze|unfreeze EMAIL
//	operator expire|unexpire
func (s *script) operator(ts *testscript.TestScript, _ bool, args []string) {
	c := servertest.DialAdmin(s.server.URL, servertest.AdminToken)
	defer c.Close()
	off := args[0] == "freeze" || args[0] == "expire"
	var err error
	if args[0] == "limit" {
		most, wrong := strconv.ParseUint(args[1], 10, 64)
		ts.Check(wrong)
		_, err = c.Admin.SetOrganization(s.t.Context(), &parsecv1.SetOrganizationRequest{Name: "Acme", StorageLimit: &most})
	} else if len(args) == 2 {
		_, err = c.Admin.SetUser(s.t.Context(), &parsecv1.SetUserRequest{Organization: "Acme", Email: args[1], Frozen: off})
	} else {
		_, err = c.Admin.SetOrganization(s.t.Context(), &parsecv1.SetOrganizationRequest{Name: "Acme", Expired: &off})
	}
	ts.Check(err)
}

// backup keeps a copy of all that the server has, and restore puts it back.
func (s *script) backup(ts *testscript.TestScript, _ bool, _ []string) {
	s.server.Stop()
	s.saved = s.t.TempDir()
	ts.Check(os.CopyFS(s.saved, os.DirFS(s.server.Dir)))
	s.startIn(s.server.Dir)
}

func (s *script) restore(*testscript.TestScript, bool, []string) {
	s.server.Stop()
	s.startIn(s.saved)
}

// damage changes a byte of every block that the server stores.
func (s *script) damage(ts *testscript.TestScript, _ bool, _ []string) {
	s.server.Stop()
	err := filepath.WalkDir(filepath.Join(s.server.Dir, "blocks"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		pack, err := os.ReadFile(path)
		if err != nil || len(pack) == 0 {
			return err
		}
		pack[len(pack)/2] ^= 1
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, pack, 0o600))
	})
	ts.Check(err)
	s.startIn(s.server.Dir)
}

// hold has this process hold the only device of a home until the script ends.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	all, err := device.List(dir)
	ts.Check(err)
	claim, err := home.Hold(dir, all[0].Device, home.Holder{Command: "parsec cp", Process: os.Getpid(), Since: time.Now()})
	ts.Check(err)
	ts.Defer(func() { ts.Check(claim.Release()) })
}

// awaitHolder waits until another process holds a device of a home.
func awaitHolder(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if found, _ := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "local", "*", "holder")); len(found) > 0 {
			return
		}
		<-tick.C
	}
	ts.Fatalf("nobody holds a device in %s", args[0])
}

// exits runs a program and expects an exit status: exits 3 parsec ls plans:/x
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// get puts a value of the JSON just printed into a variable: get TOKEN token,
// or get SIZE 0.size for a list.
func get(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], fmt.Sprint(at(ts, args[1])))
}

// at returns the value at a path of the JSON just printed.
func at(ts *testscript.TestScript, path string) any {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for step := range strings.SplitSeq(path, ".") {
		switch here := v.(type) {
		case map[string]any:
			v = here[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(here) {
				ts.Fatalf("%s: the list has %d values", path, len(here))
			}
			v = here[i]
		default:
			ts.Fatalf("%s: there is nothing at %q", path, step)
		}
	}
	return v
}

// keys expects an object of the JSON just printed to have exactly these keys:
// keys 0 id email name, or keys . for the whole.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	if args[0] == "." {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	} else {
		v = at(ts, args[0])
	}
	object, ok := v.(map[string]any)
	if !ok {
		ts.Fatalf("%s is %T, not an object", args[0], v)
	}
	var got []string
	for key := range object {
		got = append(got, key)
	}
	want := slices.Clone(args[1:])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("the keys of %s are %q, want %q", args[0], got, want)
	}
}

// enroll has two people read their codes to each other: enroll TOKEN URL HOME
// args... runs greet with $PARSEC_HOME, and claim with the home and arguments
// given. With ! in front the greeter mishears, and both sides have to fail.
func enroll(ts *testscript.TestScript, misheard bool, args []string) {
	greeter := exec.Command("parsec", "invite", "greet", args[0], "--codes-stdin")
	claimer := exec.Command("parsec", append([]string{"invite", "claim", args[1], "--codes-stdin"}, args[3:]...)...)
	for _, c := range []*exec.Cmd{greeter, claimer} {
		c.Dir = ts.MkAbs(".")
		for _, name := range []string{"PATH", "HOME", "PARSEC_HOME", "PARSEC_PASSWORD_FILE", "PARSEC_KEYRING", "TEST_KEYRING", "GORACE"} {
			c.Env = append(c.Env, name+"="+ts.Getenv(name))
		}
	}
	claimer.Env = append(claimer.Env, "PARSEC_HOME="+ts.MkAbs(args[2]))
	out, problems, err := converse(greeter, claimer, misheard)
	io.WriteString(ts.Stdout(), out)
	io.WriteString(ts.Stderr(), problems)
	switch {
	case !misheard:
		ts.Check(err)
	case greeter.ProcessState.Success() || claimer.ProcessState.Success():
		ts.Fatalf("a side did not notice that the code was misheard")
	}
}

// converse runs both sides of an enrollment, and has each hear the other's
// code. It returns what both wrote to standard output and standard error.
func converse(greet, claim *exec.Cmd, misheard bool) (out, problems string, err error) {
	greeter, err := newSide(greet)
	if err != nil {
		return "", "", err
	}
	claimer, err := newSide(claim)
	if err != nil {
		return "", "", err
	}
	var group errgroup.Group
	group.Go(greeter.run)
	group.Go(claimer.run)
	claimer.hear(<-greeter.code)
	code := <-claimer.code
	if misheard {
		code = flip(code)
	}
	greeter.hear(code)
	err = group.Wait()
	return greeter.said.String() + claimer.said.String(), greeter.problems.String() + claimer.problems.String(), err
}

// flip changes one character of a code.
func flip(code string) string {
	if code == "" {
		return ""
	}
	with := "A"
	if strings.HasPrefix(code, with) {
		with = "B"
	}
	return with + code[1:]
}

// side is one side of an enrollment, as a process.
type side struct {
	cmd            *exec.Cmd
	in             io.WriteCloser
	out            io.Reader
	said, problems bytes.Buffer
	// code has the code that the side shows, and is closed when it ends.
	code chan string
}

func newSide(cmd *exec.Cmd) (*side, error) {
	s := &side{cmd: cmd, code: make(chan string, 1)}
	cmd.Stderr = &s.problems
	var err error
	if s.in, err = cmd.StdinPipe(); err == nil {
		s.out, err = cmd.StdoutPipe()
	}
	return s, err
}

// hear types the other side's code.
func (s *side) hear(code string) {
	io.WriteString(s.in, code+"\n") // fails where the side ended, which is told by run
	s.in.Close()
}

func (s *side) run() error {
	defer close(s.code)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(s.out); lines.Scan(); {
		fmt.Fprintln(&s.said, lines.Text())
		if code, ok := strings.CutPrefix(lines.Text(), "your code: "); ok {
			s.code <- code
		}
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(s.cmd.Args, " "), err, &s.problems)
	}
	return nil
}
