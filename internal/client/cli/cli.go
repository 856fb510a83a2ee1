// Package cli is the command line of `parsec`: it reads arguments, flags and
// the environment, opens the session that a command needs, calls the packages
// below, and prints what they return. It decides nothing about files, people
// or trust.
//
// What scripts rely on (exit statuses, JSON, which stream is written) is fixed
// by tests, and does not change between releases without a note.
package cli

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"

	"parsec/internal/client/cli/frame"
	"parsec/internal/client/cli/people"
	"parsec/internal/client/cli/standing"
	"parsec/internal/cmdline"
)

// Run runs the program and returns its exit status. The end of the context,
// as by a signal, ends it in an orderly way. extra are further commands, which
// need nothing of this package.
func Run(ctx context.Context, p frame.Program, extra ...*cobra.Command) int {
	p.Commands = func(f *frame.Run) *cobra.Command {
		r := &run{f}
		if f.Joined() {
			return r.root() // a command is in one tree only, and those hold no device
		}
		return r.root(extra...)
	}
	return frame.New(p).Execute(ctx)
}

// run is one run of the program, for the commands of this package.
type run struct{ *frame.Run }

// The groups of commands in the help.
const (
	groupFiles  = "files"
	groupShare  = "share"
	groupPeople = "people"
	groupOther  = "other"
)

// root returns the program's commands.
func (r *run) root(extra ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   "parsec",
		Short: "Share folders through a server that learns nothing",
		Long: `parsec shares folders through a server that learns nothing. Files, names and
structure are encrypted on this computer. Only the people you share a workspace
with can open it, and every answer of the server is checked.

A path in a workspace is written workspace:/path, a local one as usual. A local
name with a colon is written ./like:this.

Each flag --some-flag can also be given in the environment as PARSEC_SOME_FLAG.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 permission denied,
5 server unreachable, 6 the server broke a promise, 7 conflict.`,
		Example: `  parsec org bootstrap URL --name Alice --email alice@example.com
  parsec workspace create plans
  parsec cp -r ~/Documents/plans plans:/
  parsec ls -l plans:/
  parsec invite user bob@example.com
  parsec workspace share plans bob@example.com --role contributor
  parsec log plans:`,
		Version:       version(),
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: cmdline.Group,
	}
	c.CompletionOptions.HiddenDefaultCmd = false
	r.GlobalFlags(c)
	c.AddGroup(
		&cobra.Group{ID: groupFiles, Title: "Files:"},
		&cobra.Group{ID: groupShare, Title: "Workspaces:"},
		&cobra.Group{ID: groupPeople, Title: "People and devices:"},
		&cobra.Group{ID: groupOther, Title: "About the program:"},
	)
	add := func(group string, all ...*cobra.Command) {
		for _, sub := range all {
			sub.GroupID = group
			c.AddCommand(sub)
		}
	}
	add(groupFiles, r.ls(), r.tree(), r.find(), r.stat(), r.cat(), r.cp(), r.mv(), r.rm(), r.mkdir(), r.log(), r.restore(), r.verify())
	add(groupShare, people.Workspaces(r.Run)...)
	add(groupPeople, people.People(r.Run)...)
	add(groupFiles, standing.Commands(r.Run)...)
	add(groupFiles, r.mount(), r.umount(), r.webdav(), r.ignore())
	add(groupOther, r.agentCommand())
	add(groupOther, cmdline.Manuals("parsec", frame.Prefix))
	add(groupOther, extra...)
	c.SetCompletionCommandGroupID(groupOther)
	c.SetHelpCommandGroupID(groupOther)
	cmdline.Prepare(c, frame.Prefix, r.Environment)
	return c
}

// version is what the build says about itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
