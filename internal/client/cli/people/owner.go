package people

import (
	"context"

	"github.com/spf13/cobra"

	"parsec/internal/client/workspace"
)

func (r *run) workspaceRename() *cobra.Command {
	return r.onWorkspace(&cobra.Command{
		Use:   "rename WORKSPACE NAME",
		Short: "Give a workspace another name, for all its members",
		Args:  cobra.ExactArgs(2),
	}, func(ctx context.Context, w *workspace.Workspace, args []string) error { return w.Rename(ctx, args[1]) })
}

func (r *run) workspaceArchive() *cobra.Command {
	return r.onWorkspace(&cobra.Command{
		Use:   "archive WORKSPACE",
		Short: "Make a workspace one that is only read",
		Long: `Archives a workspace: everybody keeps reading it, and nobody writes until an
owner takes it back into use with ` + "`parsec workspace unarchive`" + `.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, w *workspace.Workspace, _ []string) error { return w.Archive(ctx, true) })
}

func (r *run) workspaceUnarchive() *cobra.Command {
	return r.onWorkspace(&cobra.Command{
		Use:   "unarchive WORKSPACE",
		Short: "Take an archived workspace back into use",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, w *workspace.Workspace, _ []string) error { return w.Archive(ctx, false) })
}

func (r *run) workspaceTakeOwnership() *cobra.Command {
	return r.onWorkspace(&cobra.Command{
		Use:   "take-ownership WORKSPACE",
		Short: "Become the owner of a workspace that has none left",
		Long: `Makes you the owner of a workspace whose owners were all revoked. Only a member
of the highest role that is left can, and no outsider. Where two try at the same
time, one succeeds.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, w *workspace.Workspace, _ []string) error { return w.TakeOwnership(ctx) })
}

// onWorkspace has a command act on the workspace that its first argument names.
func (r *run) onWorkspace(c *cobra.Command, act func(context.Context, *workspace.Workspace, []string) error) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		return r.inWorkspace(c, args[0], func(ctx context.Context, w *workspace.Workspace) error { return act(ctx, w, args) })
	}
	return c
}
