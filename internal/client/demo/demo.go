// Package demo plays the whole road once, for somebody who has five minutes: a
// server, an organization, two people, a shared folder, a removal, and a
// server that was put back to yesterday. It runs the real programs as
// processes, as a person would, and believes only their exit statuses and
// what it compares itself. Nothing of it is left behind.
package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"parsec/internal/base/fault"
)

// Config is what a demonstration needs.
type Config struct {
	// Client and Server are the two programs.
	Client, Server string
	// Source is the folder that Alice imports; empty for a small one that the
	// demonstration makes.
	Source string
	// Out is where it tells what happens.
	Out io.Writer
	// Bold says that Out shows bold text.
	Bold bool
}

// stage is a demonstration at work.
type stage struct {
	Config
	dir  string
	url  string
	run  *exec.Cmd
	step int
}

// Run plays the demonstration to its end, or to the first thing that does not
// go as it should.
func Run(ctx context.Context, c Config) error {
	dir, err := os.MkdirTemp("", "parsec-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	s := &stage{Config: c, dir: dir}
	err = s.play(ctx)
	return errors.Join(err, s.stop(), os.RemoveAll(dir))
}

func (s *stage) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		s.organization, s.enrollment, s.share, s.whatTheServerHolds, s.removal, s.rollback,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	s.say("", "Everything above ran in %s, which is gone now. To start your own:", s.dir)
	s.say("", "  bin/parsec-server run &                     # data in ./parsec-data")
	s.say("", "  bin/parsec-server org create Acme           # prints a link")
	s.say("", "  bin/parsec org bootstrap LINK --name YOU --email YOU@EXAMPLE.COM")
	s.say("", "  bin/parsec workspace create plans && bin/parsec cp -r FOLDER plans:/")
	return nil
}

// title begins the next step.
func (s *stage) title(format string, args ...any) {
	s.step++
	s.say(fmt.Sprintf("%d. ", s.step), format, args...)
}

func (s *stage) say(mark, format string, args ...any) {
	if mark != "" && s.Bold {
		mark = "\x1b[1m" + mark + "\x1b[0m"
	}
	fmt.Fprintf(s.Out, "%s%s\n", mark, fmt.Sprintf(format, args...))
}

// tell adds a line to the step.
func (s *stage) tell(format string, args ...any) { s.say("", "   "+format, args...) }

// start starts the server on its data folder, at the address that it had before.
func (s *stage) start(ctx context.Context) error {
	listen := "127.0.0.1:0"
	if s.url != "" {
		listen = strings.TrimPrefix(s.url, "http://")
	}
	s.run = exec.CommandContext(ctx, s.Server, "run", "--listen", listen, "--data", s.path("server"))
	s.run.Cancel = func() error { return s.run.Process.Signal(syscall.SIGTERM) }
	s.run.WaitDelay = 10 * time.Second
	out, err := s.run.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.run.Start(); err != nil {
		return fault.WithHint(fmt.Errorf("start the server: %w", err), "`make build` makes both programs in bin/")
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start the server: it said nothing: %w", err)
	}
	s.url = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	return nil
}

// stop stops the server, if it runs.
func (s *stage) stop() error {
	if s.run == nil || s.run.Process == nil {
		return nil
	}
	if err := s.run.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	err := s.run.Wait()
	s.run = nil
	if err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// client returns a command of the client program, as one of the two people.
func (s *stage) client(ctx context.Context, who string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Client, append([]string{
		"--home", s.path(who), "--password-file", s.path(who + ".password"),
	}, args...)...)
	return cmd
}

// as runs a command of the client program and returns what it printed.
func (s *stage) as(ctx context.Context, who string, args ...string) (string, error) {
	return output(s.client(ctx, who, args...))
}

// failed is a command that ended with another status than 0.
type failed struct {
	command string
	status  int
	said    string
}

// Error returns the command and what it said.
func (f *failed) Error() string {
	return fmt.Sprintf("%s ended with status %d: %s", f.command, f.status, f.said)
}

func output(cmd *exec.Cmd) (string, error) {
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), &failed{filepath.Base(cmd.Path) + " " + strings.Join(cmd.Args[1:], " "), exit.ExitCode(), strings.TrimSpace(said.String())}
	}
	return out.String(), err
}

// decode runs a command that prints JSON.
func decode[T any](cmd *exec.Cmd) (T, error) {
	var v T
	out, err := output(cmd)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("%s: %w", cmd, err)
	}
	return v, nil
}

// refused runs a command that has to fail with a status, and returns why it did.
func (s *stage) refused(ctx context.Context, status int, who string, args ...string) (string, error) {
	_, err := s.as(ctx, who, args...)
	var f *failed
	switch {
	case errors.As(err, &f) && f.status == status:
		said, _, _ := strings.Cut(f.said, "\n")
		return said, nil
	case err == nil:
		return "", fmt.Errorf("parsec %s was not refused", strings.Join(args, " "))
	}
	return "", err
}
