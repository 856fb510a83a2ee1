package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/files"
	"parsec/internal/format/manifest"
)

func (r *run) mv() *cobra.Command {
	return &cobra.Command{
		Use:   "mv WORKSPACE:/PATH... WORKSPACE:/PATH",
		Short: "Move or rename within a workspace",
		Long: `Moves as mv does, within one workspace. Where the destination is a folder, the
sources go into it; a file that is there is replaced, and its earlier versions
stay in the log. Nothing is uploaded. Without the server it is done on this
device, and sent with the next sync.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := addressesOfOne("move", args)
			if err != nil {
				return err
			}
			return r.onDesk(c, func(ctx context.Context, d *desk) error { return move(ctx, d, all[:len(all)-1], all[len(all)-1]) })
		},
	}
}

// addressesOfOne reads arguments that must be in one workspace.
func addressesOfOne(what string, args []string) ([]address, error) {
	var all []address
	for _, arg := range args {
		a, err := parseRemote(arg, runtime.GOOS)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
		if a.workspace != all[0].workspace {
			return nil, fault.WithHint(fault.Errorf(fault.Usage, "%s: %s and %s are in two workspaces", what, args[0], arg),
				"copy with `parsec cp -r`, and remove the source with `parsec rm -r`")
		}
	}
	return all, nil
}

func move(ctx context.Context, d *desk, sources []address, to address) error {
	t, err := d.workspace(ctx, to.workspace)
	if err != nil {
		return err
	}
	if err := d.change(t); err != nil {
		return err
	}
	if len(sources) > 1 {
		there, err := t.Stat(ctx, to.path)
		if err != nil {
			return err
		}
		if there.Kind != manifest.Folder {
			return fault.Errorf(fault.Usage, "move %d sources: %s is not a folder", len(sources), to.text)
		}
	}
	for _, s := range sources {
		if err := t.Move(ctx, s.path, to.path); err != nil {
			return err
		}
	}
	return nil
}

// onPaths calls act with the workspace and path of each argument, to be changed.
func (r *run) onPaths(c *cobra.Command, args []string, act func(context.Context, *desk, *shown, string) error) error {
	all, err := addresses(args, runtime.GOOS)
	if err != nil {
		return err
	}
	return r.onDesk(c, func(ctx context.Context, d *desk) error {
		for _, a := range all {
			t, err := d.workspace(ctx, a.workspace)
			if err != nil {
				return err
			}
			if err := d.change(t); err != nil {
				return err
			}
			if err := act(ctx, d, t, a.path); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *run) rm() *cobra.Command {
	var recursive bool
	c := &cobra.Command{
		Use:   "rm [-r] WORKSPACE:/PATH...",
		Short: "Remove files, and with -r folders",
		Long: `Removes files, and with -r folders with all that is in them; their versions stay
in the log. Without the server it is done on this device, and sent with the next
sync.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.onPaths(c, args, func(ctx context.Context, d *desk, t *shown, p string) error {
				if recursive {
					done, err := t.RemoveAtOnce(ctx, p, func() (*files.Tree, error) { return d.bulk(ctx, t) })
					if err == nil && done {
						err = t.sync.Refresh(ctx)
					}
					if err != nil || done {
						return err
					}
				}
				return t.Remove(ctx, p, recursive)
			})
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove folders too, with all that is in them")
	return c
}

func (r *run) mkdir() *cobra.Command {
	var parents bool
	c := &cobra.Command{
		Use:   "mkdir [-p] WORKSPACE:/PATH...",
		Short: "Make folders",
		Long: `Makes folders. Without the server it is done on this device, and sent with the
next sync.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.onPaths(c, args, func(ctx context.Context, _ *desk, t *shown, p string) error { return t.Mkdir(ctx, p, parents) })
		},
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "make the folders above too; one that is there is no error")
	return c
}
