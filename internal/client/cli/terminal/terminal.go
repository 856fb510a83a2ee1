// Package terminal is the person in front of the program: prompts, passwords
// typed unseen, notes and warnings, and the progress of long work. It knows
// nothing of what the program does.
//
// Results go to standard output and everything else to standard error.
// Nothing is asked unless standard input is a terminal, and a bar is drawn
// only where standard error is one.
package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/cmdline"
)

// Console is the program's three streams. Its methods may be called from one
// goroutine at a time, save those of a [Progress].
type Console struct {
	in       *os.File
	lines    *bufio.Reader
	out, err *os.File
	// ask asks the person where the terminal is another process'; else nil.
	ask Ask
	// closed ends reads, and reading is held by each; nil where the process ends
	// instead.
	closed  chan struct{}
	reading *sync.Mutex
	// Quiet leaves out notes and progress, but no warning.
	Quiet bool
}

// New returns the console of these streams.
func New(in, out, err *os.File) *Console {
	return &Console{in: in, lines: bufio.NewReader(in), out: out, err: err}
}

// Ask has a person type a line, which is not shown where it is hidden. It
// returns it without its end, and [io.EOF] where nothing is left to be read.
type Ask func(ctx context.Context, prompt string, hidden bool) ([]byte, error)

// NewFor returns the console of another process' streams. ask asks the person
// in front of that one, and is nil where nobody is; a terminal is never read
// otherwise, since the system would stop a process that is not in front.
func NewFor(in, out, err *os.File, ask Ask) *Console {
	c := New(in, out, err)
	c.ask, c.closed, c.reading = ask, make(chan struct{}), new(sync.Mutex)
	c.lines = bufio.NewReader(patient{in, c.closed, c.reading})
	if ask != nil {
		c.lines = bufio.NewReader(typed{ask})
	}
	return c
}

// Close ends the reads that [NewFor]'s console left behind, and waits for them.
// Its streams stay their owner's, who may close them then.
func (c *Console) Close() {
	close(c.closed)
	c.reading.Lock()
	defer c.reading.Unlock()
}

// patient reads a file, if something is there, until it is closed: in a process
// that goes on, no read may be left behind in a pipe that nobody writes to.
type patient struct {
	file    *os.File
	closed  <-chan struct{}
	reading *sync.Mutex
}

// readTime is how long a read waits before it looks whether it is still wanted.
const readTime = 250 * time.Millisecond

// Read implements [io.Reader].
func (p patient) Read(b []byte) (int, error) {
	for {
		if n, done, err := p.try(b); done {
			return n, err
		}
	}
}

// try reads if something is there, and else waits a while for that.
func (p patient) try(b []byte) (n int, done bool, err error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	select {
	case <-p.closed:
		return 0, true, os.ErrClosed
	default:
	}
	ready, err := readable(p.file, readTime)
	if err != nil || !ready {
		return 0, err != nil, err
	}
	n, err = p.file.Read(b)
	return n, true, err
}

// typed is what a person types, line by line.
type typed struct{ ask Ask }

// Read implements [io.Reader]. It serves a buffered reader, which has room for
// a line of a terminal; what a longer one has more is cut off.
func (t typed) Read(p []byte) (int, error) {
	line, err := t.ask(context.Background(), "", false)
	if err != nil {
		return 0, err
	}
	return copy(p, append(line, '\n')), nil
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Input returns standard input as a stream, whose reads end with the context.
func (c *Console) Input(ctx context.Context) io.Reader {
	return input{ctx, c.lines, make([]byte, 256<<10)}
}

// input is a stream that is read until a context ends. Then the buffer stays
// with the read that was left behind.
type input struct {
	ctx    context.Context
	from   io.Reader
	buffer []byte
}

// Read implements [io.Reader]. An end of the stream does not count any more once
// the context has ended: what wrote the stream may have been ended with it.
func (i input) Read(p []byte) (int, error) {
	room := i.buffer[:min(len(p), len(i.buffer))]
	n, err := await(i.ctx, func() (int, error) { return i.from.Read(room) })
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return copy(p, room[:n]), err
}

// Output returns standard output.
func (c *Console) Output() io.Writer { return c.out }

// Errors returns standard error.
func (c *Console) Errors() io.Writer { return c.err }

// Interactive reports whether somebody can be asked.
func (c *Console) Interactive() bool { return c.ask != nil || isTerminal(c.in) }

// Shown returns a name as it is printed by itself on standard output: as it is
// for a program that reads it, and safe for a terminal.
func (c *Console) Shown(name string) string {
	if isTerminal(c.out) {
		return cmdline.Safe(name)
	}
	return name
}

// Note says something that is good to know.
func (c *Console) Note(format string, args ...any) {
	if !c.Quiet {
		fmt.Fprintln(c.err, cmdline.Safe(fmt.Sprintf(format, args...)))
	}
}

// Warn says something that a person has to know although the work goes on.
func (c *Console) Warn(format string, args ...any) {
	fmt.Fprintln(c.err, "warning: "+cmdline.Safe(fmt.Sprintf(format, args...)))
}

// Line asks for a line.
func (c *Console) Line(ctx context.Context, prompt string) (string, error) {
	if c.ask != nil {
		line, err := c.ask(ctx, cmdline.Safe(prompt), false)
		return string(line), ended(err)
	}
	fmt.Fprint(c.err, cmdline.Safe(prompt))
	return c.ReadLine(ctx)
}

// ReadLine reads a line of standard input, without its end.
func (c *Console) ReadLine(ctx context.Context) (string, error) {
	line, err := await(ctx, func() (string, error) { return c.lines.ReadString('\n') })
	if line == "" && errors.Is(err, io.EOF) {
		return "", ended(err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// ended says that nothing is left to be read.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Errorf(fault.Usage, "read standard input: it ended")
	}
	return err
}

// Answer asks a question of another process that runs this one's command.
func (c *Console) Answer(ctx context.Context, prompt string, hidden bool) ([]byte, error) {
	if hidden {
		return c.Password(ctx, prompt)
	}
	line, err := c.Line(ctx, prompt)
	return []byte(line), err
}

// Password asks for a password, which is not shown.
func (c *Console) Password(ctx context.Context, prompt string) (secret.Bytes, error) {
	if c.ask != nil {
		line, err := c.ask(ctx, cmdline.Safe(prompt), true)
		return line, ended(err)
	}
	fd := int(c.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	fmt.Fprint(c.err, cmdline.Safe(prompt))
	typed, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(c.err)
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return typed, nil
}

// maxTries is how often a person may try to choose a password.
const maxTries = 3

// NewPassword asks twice for a new password, until it is a good one.
func (c *Console) NewPassword(ctx context.Context, prompt string) (secret.Bytes, error) {
	for try := 1; ; try++ {
		password, err := c.newPassword(ctx, prompt)
		if !fault.Is(err, fault.Usage) || try == maxTries {
			return password, err
		}
		c.Warn("%v", err)
	}
}

func (c *Console) newPassword(ctx context.Context, prompt string) (secret.Bytes, error) {
	first, err := c.Password(ctx, prompt+": ")
	if err != nil {
		return nil, err
	}
	if err := CheckPassword(first); err != nil {
		return nil, err
	}
	second, err := c.Password(ctx, prompt+", again: ")
	if err != nil {
		return nil, err
	}
	if !first.Equal(second) {
		return nil, fault.Errorf(fault.Usage, "choose password: the two are not the same")
	}
	return first, nil
}

// What a password has to have at least. The file that it closes can be copied
// and guessed at for years, although each guess is made dear.
const (
	minPassword = 12
	minVariety  = 6
)

// CheckPassword refuses a password that is quickly guessed.
func CheckPassword(password secret.Bytes) error {
	characters := []rune(string(password))
	different := map[rune]bool{}
	for _, r := range characters {
		different[r] = true
	}
	switch {
	case len(characters) < minPassword:
		return fault.WithHint(fault.Errorf(fault.Usage, "choose password: %d characters are too few, take %d or more", len(characters), minPassword),
			"four words that have nothing to do with each other are good and easy to keep in mind")
	case len(different) < minVariety:
		return fault.Errorf(fault.Usage, "choose password: it has only %d different characters", len(different))
	}
	return nil
}

// await returns what read returns, or the end of the context, whichever comes
// first.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	if ctx.Err() != nil {
		var none T
		return none, context.Cause(ctx)
	}
	answers := make(chan answer, 1)
	// A read of a terminal cannot be interrupted. Where the context ends first,
	// the goroutine stays in it, and ends with the program, which is next.
	var reading sync.WaitGroup
	reading.Go(func() {
		value, err := read()
		answers <- answer{value, err}
	})
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
