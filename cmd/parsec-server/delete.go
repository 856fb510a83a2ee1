package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
)

func orgDelete(a *adminFlags) *cobra.Command {
	var confirm string
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete an organization with everything that it has stored, for ever",
		Long: `Deletes an organization: its devices are refused at once, then everything that
it has stored is removed from every store, and then its rows in the database.
Nothing of this can be taken back, and there is no copy but your backups. The
audit trail keeps who did it. What people have on their own devices stays there.

It asks for the name again, or takes it from --confirm.

` + goesOn + ` The organization is
listed as deleting until nothing of it is left, and keeps its name so long. A
store that does not answer holds it up: this command then ends with an error,
the server goes on trying, and ` + "`org list`" + ` says what it waits for.`,
		Example: `  parsec-server org delete Acme --confirm Acme`,
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&confirm, "confirm", "", "the `name` once more, in place of a question")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := confirmed(c, args[0], confirm); err != nil {
			return err
		}
		api, err := a.connect()
		if err != nil {
			return err
		}
		if _, err := ask(c.Context(), api.DeleteOrganization, &parsecv1.DeleteOrganizationRequest{Name: args[0]}); err != nil {
			return err
		}
		if err := gone(c.Context(), api, args[0]); err != nil {
			return err
		}
		if a.json {
			return cmdline.WriteJSON(c.OutOrStdout(), struct {
				Name    string `json:"name"`
				Deleted bool   `json:"deleted"`
			}{args[0], true})
		}
		fmt.Fprintf(c.ErrOrStderr(), "nothing of organization %q is left\n", args[0])
		return nil
	}
	return c
}

// confirmed fails unless a name was given twice.
func confirmed(c *cobra.Command, name, again string) error {
	if again == "" {
		in, ok := c.InOrStdin().(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return fault.Errorf(fault.Usage, "delete organization %q: give its name again with --confirm, since there is no terminal to ask at", name)
		}
		fmt.Fprintf(c.ErrOrStderr(), "Everything of organization %q will be removed for ever.\nType its name to go on: ", name)
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			return fault.Errorf(fault.Canceled, "delete organization %q: the question was not answered", name)
		}
		again = strings.TrimRight(line, "\r\n")
	}
	if again != name {
		return fault.Errorf(fault.Usage, "delete organization %q: the name given again is %q; nothing was done", name, again)
	}
	return nil
}

// gone waits until an organization that is being deleted is there no more, or
// it is known what it waits for.
func gone(ctx context.Context, api parsecv1connect.AdminServiceClient, name string) error {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		m, err := ask(ctx, api.OrganizationStats, &parsecv1.OrganizationStatsRequest{Name: name})
		o := m.GetOrganization()
		switch {
		case fault.Is(err, fault.NotFound), err == nil && o.GetDeleting() == 0: // the name may be another's already
			return nil
		case err != nil:
			return err
		case o.GetProblem() != "":
			return fault.WithHint(fault.Errorf(fault.Failed, "organization %q is not gone yet: %s", name, o.GetProblem()),
				"its devices are refused, and the server goes on trying to remove the rest; `parsec-server org list` says how it is")
		}
		select {
		case <-ctx.Done():
			return fault.WithHint(fault.Errorf(fault.Canceled, "wait for the end of organization %q: broken off", name), "it goes on; `parsec-server org list` says how it is")
		case <-poll.C:
		}
	}
}
