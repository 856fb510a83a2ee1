package terminal_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/client/cli/terminal"
)

// console returns a console whose streams are a pipe and files, and what
// writes to the pipe.
func console(t *testing.T) (*terminal.Console, *os.File, func() string) {
	t.Helper()
	in, typing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "errors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); typing.Close(); out.Close() })
	return terminal.New(in, out, out), typing, func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestPasswordsThatAreQuicklyGuessedAreRefused(t *testing.T) {
	for password, good := range map[string]bool{
		"": false, "hunter2": false, "elevenchars": false, "twelve chars": true,
		"aaaaaaaaaaaaaaaaaaaaaaaa": false, "ababcdcdabab": false, "correct horse battery": true,
		"ключ": false, "ключ от квартиры": true,
	} {
		err := terminal.CheckPassword(secret.Bytes(password))
		if (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
		if err != nil && (!fault.Is(err, fault.Usage) || password != "" && strings.Contains(err.Error(), password)) {
			t.Errorf("%q: the error is %v", password, err)
		}
	}
}

func TestAPipeIsNobodyToAsk(t *testing.T) {
	c, _, _ := console(t)
	if c.Interactive() || c.Drawn() {
		t.Error("a pipe and a file count as a terminal")
	}
	if _, err := c.Password(t.Context(), "password: "); err == nil {
		t.Error("a password was read from a pipe")
	}
}

func TestLinesComeOneByOne(t *testing.T) {
	c, typing, _ := console(t)
	io.WriteString(typing, "first\r\nsecond\nlast")
	typing.Close()
	for _, want := range []string{"first", "second", "last"} {
		if got, err := c.ReadLine(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := c.ReadLine(t.Context()); !fault.Is(err, fault.Usage) {
		t.Errorf("behind the last line: %v", err)
	}
}

func TestReadingEndsWithTheContext(t *testing.T) {
	reason := errors.New("enough")
	for name, read := range map[string]func(*terminal.Console, context.Context) error{
		"a line": func(c *terminal.Console, ctx context.Context) error {
			_, err := c.ReadLine(ctx)
			return err
		},
		"the stream": func(c *terminal.Console, ctx context.Context) error {
			_, err := c.Input(ctx).Read(make([]byte, 8))
			return err
		},
	} {
		c, _, _ := console(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		var reading errgroup.Group
		reading.Go(func() error { return read(c, ctx) })
		cancel(reason)
		if err := reading.Wait(); !errors.Is(err, reason) {
			t.Errorf("%s: %v", name, err)
		}
		if err := read(c, ctx); !errors.Is(err, reason) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

func TestAStreamThatEndsWithTheContextIsNotWhole(t *testing.T) {
	c, typing, _ := console(t)
	ctx, cancel := context.WithCancel(t.Context())
	in := c.Input(ctx)
	io.WriteString(typing, "half")
	if _, err := io.ReadFull(in, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	typing.Close()
	cancel()
	if _, err := in.Read(make([]byte, 4)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

func TestQuietLeavesOutNotesAndNoWarning(t *testing.T) {
	c, _, told := console(t)
	c.Note("a note on %s", "a\x1b[1mname")
	c.Quiet = true
	c.Note("another")
	c.Warn("look at %s", "a\nname")
	p := c.Progress(10)
	p.Found(1, 20)
	p.Done(1, 20)
	p.Skipped("a\x1b", errors.New("why"))
	p.Conflict("wanted", "name")
	p.Close()
	want := "a note on a\\x1b[1mname\nwarning: look at a\\nname\nwarning: skipped a\\x1b: why\n" +
		"warning: somebody else wrote wanted at the same time; the copy is name\n"
	if got := told(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
