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
	"errors"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/cli/terminal"
	"parsec/internal/client/device"
	"parsec/internal/cmdline"
)

// prefix begins the names of the variables that give flags.
const prefix = "PARSEC"

// Program is one run of the program, and what it gets from outside.
type Program struct {
	Args                  []string
	Stdin, Stdout, Stderr *os.File
	// Environment returns a variable's value.
	Environment func(string) (string, bool)
	// Variables are all variables, as NAME=VALUE.
	Variables []string
	// Executable is the program's file, and Name what it was called as.
	Executable, Name string
	// Directory is where relative local paths begin; "" for the process' own.
	Directory string
	// Proxy chooses the proxy of a request; nil for none.
	Proxy func(*http.Request) (*url.URL, error)
	// Keyring keeps the keys of devices that are closed by it.
	Keyring device.Keyring
	// Extra are further commands, which need nothing of this package.
	Extra []*cobra.Command
}

// Run runs the program and returns its exit status. The end of the context,
// as by a signal, ends it in an orderly way.
func Run(ctx context.Context, p Program) int {
	r := &run{Program: p, console: terminal.New(p.Stdin, p.Stdout, p.Stderr)}
	return r.execute(ctx)
}

// execute runs the command and returns its exit status.
func (r *run) execute(ctx context.Context) int {
	root := r.root()
	root.SetArgs(r.Args)
	root.SetOut(r.Stdout)
	root.SetErr(r.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return fault.ExitDone
	}
	if elsewhere, ok := errors.AsType[ranElsewhere](err); ok {
		return elsewhere.status
	}
	if ctx.Err() != nil && !fault.Is(err, fault.Integrity) {
		err = interrupted(err)
	}
	if fault.Is(err, fault.Integrity) {
		err = fault.WithHint(err, "nothing of it was believed; the server was put back to an older state or shows something false: tell whoever runs it, and the others")
	}
	cmdline.Complain(r.Stderr, "parsec", err, r.verbose)
	return fault.Exit(err)
}

// interrupted says that a person ended the command. A hint that says what
// remains stays.
func interrupted(err error) error {
	hint := fault.HintOf(err)
	err = fault.Errorf(fault.Canceled, "interrupted")
	if hint != "" {
		err = fault.WithHint(err, "%s", hint)
	}
	return err
}

// run is one run at work.
type run struct {
	Program
	console *terminal.Console
	// agent holds the device where another process gave the command, and is nil
	// where this one was started with it.
	agent *agent.Agent

	// The global flags.
	home, device, passwordFile string
	keyring, verbose           bool
	// json is the flag of all commands that list something.
	json bool
}

// The groups of commands in the help.
const (
	groupFiles  = "files"
	groupShare  = "share"
	groupPeople = "people"
	groupOther  = "other"
)

// root returns the program's commands.
func (r *run) root() *cobra.Command {
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
	r.globalFlags(c)
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
	add(groupFiles, r.ls(), r.tree(), r.find(), r.stat(), r.cat(), r.cp(), r.mv(), r.rm(), r.mkdir(), r.log(), r.verify())
	add(groupShare, r.workspace())
	add(groupPeople, r.org(), r.user(), r.deviceCommand(), r.invite())
	add(groupOther, r.agentCommand())
	add(groupOther, cmdline.Manuals("parsec", prefix))
	add(groupOther, r.Extra...)
	c.SetCompletionCommandGroupID(groupOther)
	c.SetHelpCommandGroupID(groupOther)
	cmdline.Prepare(c, prefix, r.Environment)
	return c
}

func (r *run) globalFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&r.home, "home", "", "`folder` of devices and local state (default: that of the system)")
	f.StringVar(&r.device, "device", "", "`label or id` of the device to use, where there are several")
	f.StringVar(&r.passwordFile, "password-file", "", "`file` with the device's password; one newline at its end does not count")
	f.BoolVar(&r.keyring, "keyring", false, "have the system's keyring close and open the device")
	f.BoolVarP(&r.console.Quiet, "quiet", "q", false, "no notes and no progress")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "say more: the details of errors, and what went over the wire")
	r.complete(c, "device", r.completeDevice)
}

// complete says how a flag's value is completed. Only a process of its own
// completes, and what is registered is never given back.
func (r *run) complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if r.agent == nil {
		_ = c.RegisterFlagCompletionFunc(flag, f) // it only fails for a flag that does not exist
	}
}

// asJSON gives a command that lists something its flag.
func (r *run) asJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&r.json, "json", false, "print JSON")
	return c
}

// print prints a value as JSON, or the rows that show it to people.
func (r *run) print(v any, rows func() [][]string) error {
	if r.json {
		return cmdline.WriteJSON(r.Stdout, v)
	}
	return cmdline.WriteTable(r.Stdout, rows())
}

// version is what the build says about itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
