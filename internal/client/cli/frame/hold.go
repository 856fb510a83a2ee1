package frame

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/cli/terminal"
	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/client/session"
	"parsec/internal/client/socket"
	"parsec/internal/cmdline"
)

// Elsewhere is the end of a command that the process ran which holds the
// device. It has said what there was to say.
type Elsewhere struct{ Status int }

// Error is for logs alone: the exit status is all that counts.
func (e Elsewhere) Error() string {
	return fmt.Sprintf("the command ran in another process, which ended it with %d", e.Status)
}

// Local returns where a local path is, as given by whoever gave the command.
func (r *Run) Local(path string) string {
	if r.Directory == "" || path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.Directory, path)
}

// Absolute returns the absolute form of a local path.
func (r *Run) Absolute(path string) (string, error) { return filepath.Abs(r.Local(path)) }

// With brings the chosen device's session up to date and calls act. The session
// is this process' own, or that of the process that holds the device already:
// there the whole command runs then, and here its exit status is all there is.
func (r *Run) With(c *cobra.Command, act func(context.Context, *session.Session) error) error {
	if r.agent != nil {
		return r.publish(c.Context(), r.agent.Do(c.Context(), act))
	}
	a, err := r.hold(c)
	if err != nil {
		return err
	}
	return r.Release(c.Context(), a, a.Do(c.Context(), act))
}

// WithAgent calls act with what holds the chosen device, as [Run.With] does, but
// asks the server for nothing before: act works offline too.
func (r *Run) WithAgent(c *cobra.Command, act func(context.Context, *agent.Agent) error) error {
	if r.agent != nil {
		return r.publish(c.Context(), act(c.Context(), r.agent))
	}
	a, err := r.hold(c)
	if err != nil {
		return err
	}
	return r.Release(c.Context(), a, act(c.Context(), a))
}

// WithAPI calls act with the API of what holds the chosen device: of another process
// that does, or of this one. Like [Run.WithAgent] it asks the server for nothing
// before. Only act is done elsewhere then, and the command goes on here.
func (r *Run) WithAPI(c *cobra.Command, act func(context.Context, agent.API) error) error {
	if r.agent != nil {
		return r.publish(c.Context(), act(c.Context(), r.agent))
	}
	p, f, err := r.Choose(c)
	if err != nil {
		return err
	}
	ctx, other := c.Context(), agent.Dial(home.Folder(p.Home, f.Device))
	defer other.Close()
	done := false
	a, err := r.Claim(ctx, p, f, agent.Config{}, func() error {
		err := act(ctx, other)
		done = !errors.Is(err, socket.ErrNobody)
		return err
	})
	if err != nil || done {
		return err
	}
	return r.Release(ctx, a, act(ctx, a))
}

// WithStaying calls act with what holds the chosen device until it is told to
// stop: the agent, or, where none runs, this process, which is the agent then.
func (r *Run) WithStaying(c *cobra.Command, act func(context.Context, *agent.Agent) error) error {
	if r.agent != nil {
		return act(c.Context(), r.agent)
	}
	p, f, err := r.Choose(c)
	if err != nil {
		return err
	}
	ctx, folder := c.Context(), home.Folder(p.Home, f.Device)
	a, err := r.Claim(ctx, p, f, agent.Config{Stays: true}, func() error {
		switch h, err := agent.Holder(ctx, folder); {
		case err != nil:
			return err
		case !h.Stays: // it ends by itself, and is waited for
			return socket.ErrNobody
		}
		status, err := r.join(ctx, folder)
		if err != nil {
			return err
		}
		return Elsewhere{status}
	})
	if err != nil {
		return err
	}
	return r.Release(ctx, a, act(ctx, a))
}

// Release gives a device back, once no other process has work in flight here.
func (r *Run) Release(ctx context.Context, a *agent.Agent, err error) error {
	if n := a.Others(); n > 0 {
		r.Console.Note("done; waiting for %s that joined this process", cmdline.Counted(n, "command", "commands"))
	}
	if drained := a.Drain(); err == nil {
		err = drained
	}
	return r.Close(ctx, a.Held(), err)
}

// publish ends a command that another process gave: what was verified is told
// to the user's other devices, but the session stays.
func (r *Run) publish(ctx context.Context, err error) error {
	if r.Offline || fault.Is(err, fault.Unreachable) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return r.settle(err, r.agent.Publish(ctx))
}

// The times of waiting for another process.
const (
	// joinTime is how long a process that is about to serve, or to end, is waited for.
	joinTime = 30 * time.Second
	JoinStep = 20 * time.Millisecond
)

// hold opens the chosen device in this process, and lets others join it. Where
// another process holds the device, the command runs there.
func (r *Run) hold(c *cobra.Command) (*agent.Agent, error) {
	p, f, err := r.Choose(c)
	if err != nil {
		return nil, err
	}
	ctx, folder := c.Context(), home.Folder(p.Home, f.Device)
	return r.Claim(ctx, p, f, agent.Config{}, func() error {
		status, err := r.join(ctx, folder)
		if err != nil {
			return err
		}
		return Elsewhere{status}
	})
}

// Claim opens a device. Before each try it looks for another process that
// holds it; only where that fails with [socket.ErrNobody] the device is opened.
func (r *Run) Claim(ctx context.Context, p session.Place, f device.Found, cfg agent.Config, look func() error) (*agent.Agent, error) {
	cfg.Short, cfg.Run = r.short(), r.runFor
	k := &key{r: r, found: f}
	for end := time.Now().Add(joinTime); ; {
		if err := look(); !errors.Is(err, socket.ErrNobody) {
			return nil, err
		}
		a, err := k.open(ctx, p, cfg)
		if use, ok := errors.AsType[*home.InUse](err); !ok || !use.By.Serves && use.By.Process != 0 || time.Now().After(end) {
			return a, err
		}
		if err := Pause(ctx, JoinStep); err != nil {
			return nil, err
		}
	}
}

// Choose returns where the devices are, and the one to use.
func (r *Run) Choose(c *cobra.Command) (session.Place, device.Found, error) {
	p, err := r.Place(c)
	if err != nil {
		return p, device.Found{}, err
	}
	f, err := r.Pick(p.Home, r.DeviceName)
	return p, f, err
}

// Pause waits, unless the context ends before.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// key is what opens a device. A person is asked for it once, if it is the right
// one.
type key struct {
	r     *Run
	found device.Found
	lock  device.Lock
	asked int
}

// open opens the device. A person may mistype the password.
func (k *key) open(ctx context.Context, p session.Place, cfg agent.Config) (*agent.Agent, error) {
	for {
		if k.lock.Method() == 0 {
			var err error
			if k.lock, err = k.r.Lock(ctx, k.found); err != nil {
				return nil, err
			}
			k.asked++
		}
		a, err := agent.Open(ctx, p, k.found, k.lock, cfg)
		if !errors.Is(err, device.ErrWrongSecret) || k.r.PasswordFile != "" || k.asked == MaxPasswordTries {
			return a, err
		}
		k.r.Console.Warn("that is not the password")
		k.lock = device.Lock{}
	}
}

// short returns where the folder of a socket may be made: paths of sockets are
// short everywhere, and a home's need not be.
func (r *Run) short() string {
	if dir, _ := r.Environment("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return os.TempDir()
}

// join has the process that holds the device run this command. It fails with
// [socket.ErrNobody] where there is none.
func (r *Run) join(ctx context.Context, folder string) (int, error) {
	directory, err := r.Absolute(".")
	if err != nil {
		return 0, err
	}
	command := &agentv1.Command{
		Arguments: r.Args, Directory: directory, Environment: r.variables(), Interactive: r.Console.Interactive(),
	}
	return socket.Run(ctx, folder, command, socket.Streams{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr}, r.Console.Answer)
}

// variables returns the environment as far as commands read it.
func (r *Run) variables() map[string]string {
	all := map[string]string{}
	for _, v := range r.Variables {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, Prefix+"_") || name == "NO_COLOR" || name == "TERM" {
			all[name] = value
		}
	}
	return all
}

// runFor runs a command that another process gave.
func (r *Run) runFor(ctx context.Context, a *agent.Agent, call *socket.Call) int {
	var ask terminal.Ask
	if call.GetInteractive() {
		ask = call.Ask
	}
	environment := call.GetEnvironment()
	other := &Run{
		Program: Program{
			Args: call.GetArguments(), Directory: call.GetDirectory(),
			Stdin: call.Stdin, Stdout: call.Stdout, Stderr: call.Stderr,
			Environment: func(name string) (string, bool) { value, ok := environment[name]; return value, ok },
			Proxy:       r.Proxy, Keyring: r.Keyring, Commands: r.Commands,
		},
		Console: terminal.NewFor(call.Stdin, call.Stdout, call.Stderr, ask),
		agent:   a,
	}
	defer other.Console.Close()
	return other.Execute(ctx)
}
