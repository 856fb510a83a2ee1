package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/client/agent"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/client/session"
	"parsec/internal/client/socket"
)

// The agent's log in the device's folder, which begins anew when it is too long.
const (
	logFile = "agent.log"
	maxLog  = 1 << 20
)

func (r *run) agentCommand() *cobra.Command {
	var background bool
	var log string
	c := &cobra.Command{
		Use:   "agent",
		Short: "Hold the device open, and keep its workspaces in sync",
		Long: `Holds the chosen device open until it is told to stop: by Ctrl-C, by SIGTERM, or
by ` + "`parsec agent stop`" + `. It keeps all workspaces in sync with the server, and
goes on by itself when the server was away. Meanwhile every other command of
yours on this device runs in this process, with its own terminal and in its own
folder. It needs no password, as with ssh-agent: whoever can run programs as you
can use the device.

A command that finds another one at work joins that in the same way, so commands
never get into each other's way, with or without an agent.

With --background the command returns when the agent is ready, and prints its
process id and where its log is. No name and no secret is written to the log.`,
		Example: `  parsec agent --background
  parsec agent stop`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.runAgent(c, background, log) },
	}
	c.Flags().BoolVar(&background, "background", false, "return when the agent is ready, and leave it running")
	c.Flags().StringVar(&log, "log", "", "append what happens to a `file`, instead of standard error")
	c.AddCommand(r.agentStop())
	return c
}

func (r *run) runAgent(c *cobra.Command, background bool, log string) error {
	p, f, err := r.Choose(c)
	if err != nil {
		return err
	}
	ctx := c.Context()
	alone := func() error { return otherAgent(ctx, home.Folder(p.Home, f.Device)) }
	if background {
		if err := alone(); !errors.Is(err, socket.ErrNobody) {
			return err
		}
		process, log, err := r.startAgent(ctx, p, f)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(r.Stdout, "process %d\nlog %s\n", process, log)
		return err
	}
	to, err := r.openLog(log)
	if err != nil {
		return err
	}
	defer to.Close()
	a, err := r.Claim(ctx, p, f, agent.Config{Stays: true}, alone)
	if err != nil {
		return err
	}
	if _, err := a.Syncing(ctx); err != nil {
		return r.Release(ctx, a, err)
	}
	events := slog.New(slog.NewTextHandler(to, nil))
	events.Info("ready", "process", os.Getpid(), "device", f.Device)
	fmt.Fprintf(r.Stdout, "ready: process %d holds device %s\n", os.Getpid(), r.Console.Shown(f.Label))
	a.Stay(ctx)
	events.Info("stopping", "calls in flight", a.Others())
	err = a.Drain()
	err = r.Close(ctx, a.Held(), err)
	events.Info("stopped", "error", fault.KindOf(err).String(), "failed", err != nil)
	return err
}

// otherAgent says which agent holds the device of a folder already. A command
// that holds it ends by itself: then, as if nobody did, it fails with
// [socket.ErrNobody].
func otherAgent(ctx context.Context, folder string) error {
	h, err := agent.Holder(ctx, folder)
	switch {
	case err != nil:
		return err
	case !h.Stays:
		return socket.ErrNobody
	}
	return fault.WithHint(
		fault.Errorf(fault.Conflict, "start agent: process %d is the agent of this device already, since %s", h.Process, h.Since.Format(time.DateTime)),
		"`parsec agent stop` ends it")
}

// openLog opens the log, which is standard error where no file is named.
func (r *run) openLog(path string) (io.WriteCloser, error) {
	if path == "" {
		return unclosed{r.Stderr}, nil
	}
	path = r.Local(path)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".old") // else it grows on
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "open log: %w", err)
	}
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return nil, errors.Join(fault.Errorf(fault.Failed, "open log: %w", err), f.Close())
	}
	return f, nil
}

// unclosed is a stream that stays open.
type unclosed struct{ io.Writer }

// Close implements [io.Closer].
func (unclosed) Close() error { return nil }

// startAgent starts the agent as a process of its own, and waits until it is
// ready. It returns its number, and where it logs.
func (r *run) startAgent(ctx context.Context, p session.Place, f device.Found) (process int, log string, err error) {
	folder := home.Folder(p.Home, f.Device)
	log = filepath.Join(folder, logFile)
	child, err := r.agentProcess(ctx, p, f, log)
	if err != nil {
		return 0, "", err
	}
	said, err := os.CreateTemp("", "parsec-agent-")
	if err != nil {
		return 0, "", fault.Errorf(fault.Failed, "start agent: %w", err)
	}
	defer said.Close()
	_ = os.Remove(said.Name()) // where that is not possible while it is open, the system cleans up
	child.Stderr = said
	if err := child.Start(); err != nil {
		return 0, "", fault.Errorf(fault.Failed, "start agent: %w", err)
	}
	process = child.Process.Pid
	ended := make(chan error, 1)
	// Where the agent goes on, this waits until the program ends, which is next.
	var waiting sync.WaitGroup
	waiting.Go(func() { ended <- child.Wait() })
	for {
		h, err := agent.Holder(ctx, folder)
		if err == nil && h.Process == process {
			return process, log, nil
		}
		select {
		case err := <-ended:
			return 0, "", r.agentFailed(err, said)
		default:
		}
		if err := frame.Pause(ctx, frame.JoinStep); err != nil {
			return 0, "", errors.Join(err, child.Process.Signal(os.Interrupt))
		}
	}
}

// agentFailed says why an agent did not start, in its own words.
func (r *run) agentFailed(err error, said *os.File) error {
	if _, seek := said.Seek(0, io.SeekStart); seek == nil {
		_, _ = io.Copy(r.Stderr, said)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return frame.Elsewhere{Status: exit.ExitCode()}
	}
	return fault.Errorf(fault.Failed, "start agent: it ended at once")
}

// agentProcess returns the process that is to be the agent. A password that is
// typed goes to it through a pipe.
func (r *run) agentProcess(ctx context.Context, p session.Place, f device.Found, log string) (*exec.Cmd, error) {
	args := []string{"--home", p.Home, "--device", f.Device.String(), "agent", "--log", log}
	child := detached(r.Executable, append([]string{r.Name}, args...))
	child.Dir, child.Env = p.Home, r.Variables
	if r.PasswordFile != "" {
		path, err := r.Absolute(r.PasswordFile)
		child.Args = append(child.Args, "--password-file", path)
		return child, err
	}
	if r.UseKeyring || f.Method == device.ByKeyring {
		child.Args = append(child.Args, "--keyring")
		return child, nil
	}
	password, err := r.rightPassword(ctx, f)
	if err != nil {
		return nil, err
	}
	child.Args = append(child.Args, "--password-file", standardInput)
	pipe, err := child.StdinPipe()
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "start agent: %w", err)
	}
	// A pipe has room for any password.
	_, err = pipe.Write(append(password, '\n'))
	return child, errors.Join(err, pipe.Close())
}

// standardInput is standard input as a file.
const standardInput = "/dev/stdin"

// rightPassword asks for a device's password until it is the right one.
func (r *run) rightPassword(ctx context.Context, f device.Found) (secret.Bytes, error) {
	for try := 1; ; try++ {
		password, err := r.Password(ctx, f)
		if err != nil {
			return nil, err
		}
		l, err := device.Password(password)
		if err == nil {
			_, err = device.Open(f.Path, l)
		}
		if !errors.Is(err, device.ErrWrongSecret) || try == frame.MaxPasswordTries {
			return password, err
		}
		r.Console.Warn("that is not the password")
	}
}

func (r *run) agentStop() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Have the agent finish what is in flight, and end",
		Long: `Tells the agent to stop, and returns when the device is free. Commands that it
runs for others have ten seconds to end by themselves.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, f, err := r.Choose(c)
			if err != nil {
				return err
			}
			return stopAgent(c.Context(), p, f)
		},
	}
}

func stopAgent(ctx context.Context, p session.Place, f device.Found) error {
	folder := home.Folder(p.Home, f.Device)
	h, err := agent.Holder(ctx, folder)
	if err == nil {
		err = agent.Stop(ctx, folder)
	}
	if errors.Is(err, socket.ErrNobody) {
		return fault.Errorf(fault.NotFound, "stop agent: none runs for this device")
	}
	if err != nil {
		return fmt.Errorf("stop agent: %w", err)
	}
	for {
		claim, err := home.Hold(p.Home, f.Device, p.Holder)
		if err == nil {
			return claim.Release()
		}
		if use, ok := errors.AsType[*home.InUse](err); !ok || use.By.Process != 0 && use.By.Process != h.Process {
			return nil // somebody else holds it by now, or it is gone
		}
		if err := frame.Pause(ctx, frame.JoinStep); err != nil {
			return err
		}
	}
}
