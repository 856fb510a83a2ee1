package demo

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"parsec/internal/base/fault"
)

// Command returns the subcommand that plays the demonstration, with the
// program that it belongs to and the server that lies beside it.
func Command() *cobra.Command {
	var source, server string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play it all once: a server, two people, a shared folder, a lie",
		Long: `demo starts a server in a temporary folder, founds an organization, invites a
second person, shares a folder, removes the person again, and then puts the
server back to an older state to show that this is noticed. It leaves nothing
behind. It needs the program parsec-server.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := os.Executable()
			if err != nil {
				return err
			}
			if server == "" {
				server = filepath.Join(filepath.Dir(client), "parsec-server")
			}
			if _, err := os.Stat(server); err != nil {
				return fault.WithHint(fault.Errorf(fault.NotFound, "there is no %s", server), "give its place with --server-program")
			}
			out, isFile := c.OutOrStdout().(*os.File)
			return Run(c.Context(), Config{
				Client: client, Server: server, Source: source, Out: c.OutOrStdout(),
				Bold: isFile && term.IsTerminal(int(out.Fd())),
			})
		},
	}
	c.Flags().StringVar(&source, "source", "", "`folder` to import (default: a small one that is made)")
	c.Flags().StringVar(&server, "server-program", "", "the `program` parsec-server (default: beside this one)")
	return c
}
