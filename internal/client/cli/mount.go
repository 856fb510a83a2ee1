package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/home"
	"parsec/internal/client/mount"
	"parsec/internal/client/socket"
	"parsec/internal/client/syncer"
)

func (r *run) mount() *cobra.Command {
	var opts faceOptions
	c := &cobra.Command{
		Use:   "mount DIR [WORKSPACE:]",
		Short: "Show the workspaces as a folder",
		Long: `Shows all workspaces as folders of DIR, or one workspace as DIR, which is an
empty folder. Programs work in it as in any other folder, also while the server
is away: what they write is kept on this device, encrypted, and sent by itself.
What others write appears by itself.

The command ends when DIR is unmounted, by Ctrl-C, or with the agent. With
--background it returns when DIR is there, and starts an agent where none runs.

With --at, DIR shows what was there at an earlier time, and nothing can be
changed. ` + aboutTime + `

What a killed process has left mounted on DIR is replaced.`,
		Example: `  mkdir ~/Parsec
  parsec mount ~/Parsec --background
  parsec mount ~/plans plans: --read-only
  parsec mount ~/yesterday plans: --at 1d
  parsec umount ~/Parsec`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return r.withFace(c, opts, func(ctx context.Context, a *agent.Agent) error {
				return r.mountOn(ctx, a, args, opts)
			})
		},
	}
	c.Flags().BoolVar(&opts.background, "background", false, "return when the folder is there, and leave the agent running")
	c.Flags().BoolVar(&opts.readOnly, "read-only", false, "let nothing be changed")
	opts.flag(c, "show what was there at `TIME`")
	return c
}

// faceOptions say what of the workspaces is shown, and for how long.
type faceOptions struct {
	when
	background, readOnly bool
}

// withFace shows the workspaces with an agent that stays, which is started if it is
// to stay for longer than the command.
func (r *run) withFace(c *cobra.Command, opts faceOptions, show func(context.Context, *agent.Agent) error) error {
	if _, err := opts.moment(); err != nil {
		return err
	}
	if opts.background && !r.Joined() {
		if err := r.needAgent(c); err != nil {
			return err
		}
	}
	return r.WithStaying(c, show)
}

func (r *run) umount() *cobra.Command {
	return &cobra.Command{
		Use:   "umount DIR",
		Short: "Show the workspaces as a folder no more",
		Long: `Ends what ` + "`parsec mount`" + ` began, or what it left behind when it was killed.
Everything that was written is kept. It fails while a program has something of
DIR open.`,
		Example: `  parsec umount ~/Parsec`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return mount.Unmount(r.Local(args[0])) },
	}
}

// needAgent starts an agent where none runs.
func (r *run) needAgent(c *cobra.Command) error {
	p, f, err := r.Choose(c)
	if err != nil {
		return err
	}
	switch h, err := agent.Holder(c.Context(), home.Folder(p.Home, f.Device)); {
	case err == nil && h.Stays:
		return nil
	case err != nil && !errors.Is(err, socket.ErrNobody):
		return err
	}
	process, log, err := r.startAgent(c.Context(), p, f)
	if err != nil {
		return err
	}
	r.Console.Note("started the agent: process %d, log %s", process, log)
	return nil
}

// mountOn mounts a folder, and stays until it is unmounted if nobody else does.
func (r *run) mountOn(ctx context.Context, a *agent.Agent, args []string, opts faceOptions) error {
	dir, err := r.Absolute(args[0])
	if err != nil {
		return err
	}
	view, err := r.view(ctx, a, args[1:], opts)
	if err != nil {
		return err
	}
	m, err := mount.Start(view, dir, mount.Config{ReadOnly: opts.readOnly || opts.given()})
	if err != nil {
		return err
	}
	if err := a.Keep(m); err != nil {
		return err
	}
	fmt.Fprintf(r.Stdout, "mounted on %s\n", r.Console.Shown(dir))
	if opts.background {
		return nil
	}
	return stayWith(ctx, a, m)
}

// stayWith waits until a face ends, or ends it when the command is to end.
func stayWith(ctx context.Context, a *agent.Agent, f agent.Face) error {
	select {
	case <-f.Done():
		return nil
	case <-ctx.Done():
	case <-a.Stopping():
	}
	return f.Close()
}

// beginTime is how long a face waits for what the server has before it shows what
// is here.
const beginTime = 20 * time.Second

// view returns the workspaces, or the one that is named, as files. It has what the
// server has, if that answers.
func (r *run) view(ctx context.Context, a *agent.Agent, names []string, opts faceOptions) (*filesystem.View, error) {
	d, err := a.Syncing(ctx)
	if err != nil {
		return nil, err
	}
	if err := fetch(ctx, a, d); err != nil {
		return nil, err
	}
	shown, only, files := filesystem.Options{ReadOnly: opts.readOnly}, (*syncer.Syncer)(nil), d.Files()
	if len(names) > 0 {
		if only, err = r.only(d, names[0]); err != nil {
			return nil, err
		}
		shown.Workspace = only.ID()
	}
	if opts.given() {
		at, err := opts.moment()
		if err != nil {
			return nil, err
		}
		if files, err = d.Past(ctx, at, only); err != nil {
			return nil, err
		}
	}
	return files.View(shown), nil
}

// fetch brings the workspaces up to date. Where the server does not answer, what is
// here is all there is, and the agent goes on trying.
func fetch(ctx context.Context, a *agent.Agent, d *syncer.Device) error {
	within, cancel := context.WithTimeout(ctx, beginTime)
	defer cancel()
	err := errors.Join(a.Held().Sync(within), d.Discover(within))
	if err == nil {
		err = syncer.Each(within, d.Workspaces(), func(ctx context.Context, s *syncer.Syncer) error { return s.Sync(ctx) })
	}
	if fault.Is(err, fault.Integrity) {
		return err
	}
	return ctx.Err()
}

// only returns the workspace that an argument names.
func (r *run) only(d *syncer.Device, text string) (*syncer.Syncer, error) {
	a, err := parseRemote(text, runtime.GOOS)
	if err != nil {
		return nil, err
	}
	if a.path != "" && a.path != "/" {
		return nil, fault.WithHint(fault.Errorf(fault.Usage, "show %q: only a workspace can be shown, not a folder of it", text), "write %s:", a.workspace)
	}
	return d.Find(a.workspace)
}
