// Package cmdline is what both programs do alike at the command line: flags
// that the environment may give, errors in one line with a hint, tables and
// JSON, sizes and times, and manual pages. It neither reads the environment
// nor exits by itself, and knows nothing of what the commands do.
package cmdline

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parsec/internal/base/fault"
)

// Prepare makes a tree of commands take each flag that is not given from the
// environment, where --some-flag is PREFIX_SOME_FLAG, and report their own
// mistakes as [fault.Usage].
func Prepare(c *cobra.Command, prefix string, lookup func(string) (string, bool)) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	prepare(c, prefix, lookup)
}

func prepare(c *cobra.Command, prefix string, lookup func(string) (string, bool)) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return usage(c, check(c, args)) }
	}
	if act := c.RunE; act != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := fromEnvironment(c.Flags(), prefix, lookup); err != nil {
				return err
			}
			return act(c, args)
		}
	}
	for _, sub := range c.Commands() {
		prepare(sub, prefix, lookup)
	}
}

// usage makes a mistake of the parser's one that says where help is.
func usage(c *cobra.Command, err error) error {
	if err == nil || fault.KindOf(err) != fault.Failed {
		return err
	}
	return fault.WithHint(fault.Errorf(fault.Usage, "%w", err), "`%s --help` says how to use it", c.CommandPath())
}

// Variable returns the name of the variable that gives a flag.
func Variable(prefix, flag string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets each flag that was not given from its variable. An
// empty variable counts as none.
func fromEnvironment(flags *pflag.FlagSet, prefix string, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := Variable(prefix, f.Name)
		value, _ := lookup(name)
		if value == "" || f.Changed || f.Name == "help" || f.Name == "version" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fault.Errorf(fault.Usage, "read %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}

// Group is the [cobra.Command.RunE] of a command that only has subcommands.
func Group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	return usage(c, fmt.Errorf("%s: no command %q", c.CommandPath(), args[0]))
}

// Complain says in one line what failed and why, and in another what to do.
// With verbose it adds what scripts decide on.
func Complain(w io.Writer, program string, err error, verbose bool) {
	fmt.Fprintf(w, "%s: %s\n", program, oneLine(err.Error()))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", oneLine(hint))
	}
	if !verbose {
		return
	}
	fmt.Fprintf(w, "detail: kind %q, exit status %d", fault.KindOf(err), fault.Exit(err))
	if promise := fault.PromiseOf(err); promise != "" {
		fmt.Fprintf(w, ", promise %q", promise)
	}
	fmt.Fprintln(w)
}

// oneLine joins lines, as those of [errors.Join], and makes them safe.
func oneLine(text string) string {
	return Safe(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
}
