package docs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// blocks returns what a reader types, one terminal at a time: the indented
// lines of the first hour.
func blocks(t *testing.T) []string {
	t.Helper()
	_, hour, begins := strings.Cut(read(t, filepath.Join(checkout, "README.md")), "\n## A first hour\n")
	hour, _, ends := strings.Cut(hour, "\n## ")
	if !begins || !ends {
		t.Fatal("the README has no first hour")
	}
	return regexp.MustCompile(`(?m)(^ {4}.*\n)+`).FindAllString(hour, -1)
}

// TestTheFirstHour runs the commands of the README in their order, with both
// programs and an empty home. What the reader copies from an answer (URL and
// TOKEN), the test copies too; the password, which a reader types, is in a file.
func TestTheFirstHour(t *testing.T) {
	r := newReader(t, programs(t))
	t.Cleanup(r.leave)
	all := blocks(t)
	for i := 0; i < len(all); i++ {
		switch {
		case strings.Contains(all[i], "parsec-server run"): // in a terminal of its own
			r.serve(all[i])
		case strings.Contains(all[i], "invite greet"): // beside the next one
			r.speak(all[i], all[i+1])
			i++
		default:
			r.follow(all[i])
		}
	}
	r.stop()
	for _, made := range []string{"parsec-data/metadata.sqlite", "home/bob/devices", "home/bob-plans/plans/today.txt"} {
		if _, err := os.Stat(filepath.Join(r.dir, made)); err != nil {
			t.Error(err)
		}
	}
}

// reader is somebody who tries what the README says.
type reader struct {
	t           *testing.T
	dir         string
	environment []string
	server      *exec.Cmd
	// copied are the values to put for words in capitals.
	copied map[string]string
}

func newReader(t *testing.T, bin string) *reader {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("the roof has nine red chimneys\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &reader{t: t, dir: dir, copied: map[string]string{}, environment: []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"),
		"PARSEC_PASSWORD_FILE=" + filepath.Join(dir, "password"), "PARSEC_CODES_STDIN=true",
		"PARSEC_SERVER_LISTEN=127.0.0.1:0",
	}}
}

// command returns what runs commands in a shell, as soon as the words to copy
// are in. That the programs are built already is no concern of the shell's.
func (r *reader) command(commands string) *exec.Cmd {
	for word, value := range r.copied {
		commands = regexp.MustCompile(`\b`+word+`\b`).ReplaceAllLiteralString(commands, value)
	}
	c := exec.CommandContext(r.t.Context(), "bash", "-euc", "make() { test \"$*\" = build; }\n"+commands)
	c.Dir, c.Env = r.dir, r.environment
	return c
}

// leave ends an agent that is left where the test ended before it.
func (r *reader) leave() {
	c := exec.Command("bash", "-c", "parsec agent stop")
	c.Dir, c.Env = r.dir, r.environment
	_ = c.Run() // mostly there is none
}

// follow runs commands, which must do what they say, and copies what they
// answer, which it returns.
func (r *reader) follow(commands string) string {
	r.t.Helper()
	c := r.command(commands)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	answer, err := c.Output()
	if err != nil {
		r.t.Fatalf("%s%v\n%s", commands, err, &complaints)
	}
	for line := range strings.Lines(string(answer)) {
		switch words := strings.Fields(line); {
		case len(words) == 1 && strings.HasPrefix(words[0], "http"):
			r.copied["URL"] = words[0]
		case len(words) == 2 && (words[0] == "url" || words[0] == "token"):
			r.copied[strings.ToUpper(words[0])] = words[1]
		}
	}
	return string(answer)
}

// serve starts a server, and waits until it says that it is ready.
func (r *reader) serve(commands string) {
	r.t.Helper()
	r.server = r.command("exec " + strings.TrimSpace(commands))
	out, err := r.server.StdoutPipe()
	if err == nil {
		err = r.server.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ready := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ready {
		r.t.Fatalf("the server says %q, %v", line, err)
	}
	r.environment = append(r.environment, "PARSEC_SERVER_SERVER="+url)
}

// speak lets two people read their codes to each other.
func (r *reader) speak(one, other string) {
	r.t.Helper()
	a, b := r.person(one), r.person(other)
	var group errgroup.Group
	group.Go(func() error { return a.run(b) })
	group.Go(func() error { return b.run(a) })
	if err := group.Wait(); err != nil {
		r.t.Fatal(err)
	}
}

// person is one who runs a command and hears what another reads out.
type person struct {
	*exec.Cmd
	ear io.WriteCloser
}

func (r *reader) person(commands string) person {
	r.t.Helper()
	c := r.command(commands)
	ear, err := c.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	return person{c, ear}
}

// run runs the command, and reads each code to the other.
func (p person) run(other person) error {
	var complaints bytes.Buffer
	p.Stderr = &complaints
	out, err := p.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if code, ok := strings.CutPrefix(lines.Text(), "your code: "); ok {
			fmt.Fprintln(other.ear, code) // fails where the other has ended, which says why
		}
	}
	other.ear.Close()
	if err := p.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.Args, err, &complaints)
	}
	return nil
}

// stop ends the server as the README says.
func (r *reader) stop() {
	r.t.Helper()
	if err := r.server.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	if err := r.server.Wait(); err != nil {
		r.t.Errorf("the server ends with %v", err)
	}
}
