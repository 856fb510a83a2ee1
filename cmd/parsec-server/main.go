// Command parsec-server runs a Parsec server and administers it. This package
// parses flags, wires the adapters in, and prints; it decides nothing else.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
)

// prefix begins the names of the variables that give flags.
const prefix = "PARSEC_SERVER"

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
		cmdline.Complain(stderr, "parsec-server", err, verbose)
	}
	return fault.Exit(err)
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
		Long: `parsec-server keeps what people share with parsec, and cannot read it: everything
is encrypted on their computers.

Each flag --some-flag can also be given in the environment as
PARSEC_SERVER_SOME_FLAG.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 permission denied,
5 server unreachable, 7 conflict.`,
		Example: `  parsec-server run
  parsec-server org create Acme`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	root.PersistentFlags().BoolP("verbose", "v", false, "say more on standard error")
	root.AddCommand(runCommand(), migrateCommand(), checkCommand(), orgCommand(), userCommand(), storeCommand(), tokenCommand(), auditCommand(), cmdline.Manuals("parsec-server", prefix))
	cmdline.Prepare(root, prefix, os.LookupEnv)
	return root
}
