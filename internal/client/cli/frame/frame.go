// Package frame is one run of the program, and what every command stands on: the
// global flags, which device is meant and what opens it, the session of this
// process or of the one that holds the device already, and how results and
// failures are told. It knows no command.
package frame

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/cli/terminal"
	"parsec/internal/client/device"
	"parsec/internal/cmdline"
)

// Prefix begins the names of the variables that give flags.
const Prefix = "PARSEC"

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
	// Commands makes the whole tree of commands for a run.
	Commands func(*Run) *cobra.Command
}

// New returns a run of the program.
func New(p Program) *Run { return &Run{Program: p, Console: terminal.New(p.Stdin, p.Stdout, p.Stderr)} }

// Execute runs the command and returns its exit status.
func (r *Run) Execute(ctx context.Context) int {
	root := r.Commands(r)
	root.SetArgs(r.Args)
	root.SetOut(r.Stdout)
	root.SetErr(r.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return fault.ExitDone
	}
	if elsewhere, ok := errors.AsType[Elsewhere](err); ok {
		return elsewhere.Status
	}
	if ctx.Err() != nil && !fault.Is(err, fault.Integrity) {
		err = interrupted(err)
	}
	if fault.Is(err, fault.Integrity) {
		err = fault.WithHint(err, "nothing of it was believed; the server was put back to an older state or shows something false: tell whoever runs it, and the others")
	}
	cmdline.Complain(r.Stderr, "parsec", err, r.Verbose)
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

// Joined reports whether another process gave the command.
func (r *Run) Joined() bool { return r.agent != nil }

// Run is one run of the program at work.
type Run struct {
	Program
	Console *terminal.Console
	// agent holds the device where another process gave the command, and is nil
	// where this one was started with it.
	agent *agent.Agent

	// The global flags.
	HomeFolder, DeviceName, PasswordFile string
	UseKeyring, Verbose                  bool
	// Offline says that the command did its work without the server, so that
	// nobody is told of anything at its end.
	Offline bool
	// JSON is the flag of all commands that list something.
	JSON bool
}

// GlobalFlags gives the root command the flags that all commands have.
func (r *Run) GlobalFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&r.HomeFolder, "home", "", "`folder` of devices and local state (default: that of the system)")
	f.StringVar(&r.DeviceName, "device", "", "`label or id` of the device to use, where there are several")
	f.StringVar(&r.PasswordFile, "password-file", "", "`file` with the device's password; one newline at its end does not count")
	f.BoolVar(&r.UseKeyring, "keyring", false, "have the system's keyring close and open the device")
	f.BoolVarP(&r.Console.Quiet, "quiet", "q", false, "no notes and no progress")
	f.BoolVarP(&r.Verbose, "verbose", "v", false, "say more: the details of errors, and what went over the wire")
	r.Complete(c, "device", r.CompleteDevice)
}

// Complete says how a flag's value is completed. Only a process of its own
// completes, and what is registered is never given back.
func (r *Run) Complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if r.agent == nil {
		_ = c.RegisterFlagCompletionFunc(flag, f) // it only fails for a flag that does not exist
	}
}

// AsJSON gives a command that lists something its flag.
func (r *Run) AsJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&r.JSON, "json", false, "print JSON")
	return c
}

// Print prints a value as JSON, or the rows that show it to people.
func (r *Run) Print(v any, rows func() [][]string) error {
	if r.JSON {
		return cmdline.WriteJSON(r.Stdout, v)
	}
	return cmdline.WriteTable(r.Stdout, rows())
}
