// Command parsec-server runs a Parsec server and administers it. This package
// parses flags, wires the adapters in, and prints; it decides nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parsec/internal/base/fault"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes the program and returns its exit status. A signal ends what it
// does; a second one ends the program at once.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	defer context.AfterFunc(ctx, restore)()
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		verbose, _ := root.PersistentFlags().GetBool("verbose")
		complain(stderr, err, verbose)
	}
	return fault.Exit(err)
}

// complain says in one line what failed and what to do, and on demand in a
// second what kind of failure a script sees.
func complain(w io.Writer, err error, verbose bool) {
	line := "parsec-server: " + strings.ReplaceAll(err.Error(), "\n", " ")
	if hint := fault.HintOf(err); hint != "" {
		line += " (" + hint + ")"
	}
	fmt.Fprintln(w, line)
	if verbose {
		fmt.Fprintf(w, "parsec-server: kind %q, exit status %d\n", fault.KindOf(err), fault.Exit(err))
	}
}

// version is what the build says about itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// command returns the program's commands.
func command() *cobra.Command {
	root := &cobra.Command{
		Use:     "parsec-server",
		Short:   "Run and administer a Parsec server",
		Version: version(),
		Long: `parsec-server keeps what people share end-to-end encrypted with parsec, without being able to read it.

	parsec-server run                      starts a server with everything under ./parsec-data
	parsec-server org create "Acme"        prints the link that creates the organization

Each flag --some-flag can also be given as PARSEC_SERVER_SOME_FLAG in the environment.
Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 permission denied, 5 server unreachable, 7 conflict.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().BoolP("verbose", "v", false, "say more on standard error")
	root.AddCommand(runCommand(), orgCommand(), userCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	prepare(root)
	return root
}

// prepare makes a tree of commands take their flags from the environment too,
// and their own mistakes for usage errors.
func prepare(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
			}
			return nil
		}
	}
	if act := c.RunE; act != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := fromEnvironment(c.Flags()); err != nil {
				return err
			}
			return act(c, args)
		}
	}
	for _, sub := range c.Commands() {
		prepare(sub)
	}
}

func usage(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.Errorf(fault.Usage, "%w", err)
}

// fromEnvironment sets each flag that was not given from its variable.
func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "PARSEC_SERVER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, set := os.LookupEnv(name)
		if !set || f.Changed {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fault.Errorf(fault.Usage, "read %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}
