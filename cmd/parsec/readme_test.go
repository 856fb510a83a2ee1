package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"parsec/internal/server/servertest"
)

// firstHour returns the commands of the README's first hour, in order, but for
// those that build the programs and run the server, which the test does itself.
func firstHour(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, hour, found := strings.Cut(string(text), "## A first hour")
	hour, _, ends := strings.Cut(hour, "\n## ")
	if !found || !ends {
		t.Fatal("the README has no first hour")
	}
	var commands []string
	for line := range strings.Lines(hour) {
		command, ok := strings.CutPrefix(line, "    ")
		if ok && !regexp.MustCompile(`^(make|export|parsec-server) `).MatchString(command) {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// reader follows the README in a shell.
type reader struct {
	t    *testing.T
	home string
	// url and token are what the reader was given last.
	url, token string
}

func (r *reader) shell(command string) *exec.Cmd {
	command = strings.NewReplacer("'URL'", "'"+r.url+"'", " TOKEN", " "+r.token).Replace(command)
	c := exec.CommandContext(r.t.Context(), "sh", "-c", command)
	c.Dir = r.home
	c.Env = append(os.Environ(), "HOME="+r.home, "XDG_DATA_HOME=", "PARSEC_KEYRING=true", "TEST_KEYRING="+r.home+"/keyring", noRaceSleep)
	return c
}

func (r *reader) run(command string) string {
	r.t.Helper()
	out, err := r.shell(command).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if m := regexp.MustCompile(`(?m)^url +(.*)\ntoken +(.*)$`).FindSubmatch(out); m != nil {
		r.url, r.token = string(m[1]), string(m[2])
	}
	return string(out)
}

func TestTheReadmeLeadsThroughAFirstHour(t *testing.T) {
	r := &reader{t: t, home: t.TempDir(), url: servertest.Start(t, servertest.Config{}).CreateOrganization("Acme")}
	if err := os.Mkdir(filepath.Join(r.home, "keyring"), 0o700); err != nil {
		t.Fatal(err)
	}
	var greet string
	for _, command := range firstHour(t) {
		switch {
		case strings.Contains(command, "invite greet"):
			greet = command
		case strings.Contains(command, "invite claim"):
			_, problems, err := converse(r.shell("exec "+greet+" --codes-stdin"), r.shell("exec "+command+" --codes-stdin"), false)
			if err != nil {
				t.Fatalf("%v\n%s", err, problems)
			}
		default:
			r.run(command)
		}
	}
	r.run("test -s ~/Documents/plans/today.txt && diff -r ~/Documents/plans ~/bob-plans/plans")
	if out, err := r.shell("parsec --home ~/bob ls plans:").CombinedOutput(); err == nil {
		t.Errorf("Bob still reads:\n%s", out)
	}
}
