package main

import (
	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/cmdline"
)

func userCommand() *cobra.Command {
	var a adminFlags
	c := &cobra.Command{
		Use: "user", Short: "Administer the users of an organization",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	a.register(c)
	c.AddCommand(userList(&a), userFreeze(&a, true), userFreeze(&a, false))
	return c
}

// user is a user as JSON and tables show it.
type user struct {
	ID        id.User `json:"id"`
	Email     string  `json:"email"`
	Name      string  `json:"name"`
	Profile   string  `json:"profile"`
	RevokedAt *string `json:"revoked_at"`
	FrozenAt  *string `json:"frozen_at"`
}

func userList(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list ORG",
		Short: "List the users of an organization",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.ListUsers, &parsecv1.ListUsersRequest{Organization: args[0]})
			if err != nil {
				return err
			}
			all := make([]user, len(m.GetUsers()))
			rows := [][]string{{"ID", "E-MAIL", "NAME", "PROFILE", "REVOKED", "FROZEN"}}
			for i, u := range m.GetUsers() {
				if all[i].ID, err = id.FromBytes[id.User](u.GetUser()); err != nil {
					return fault.Errorf(fault.Failed, "read the server's answer: %w", err)
				}
				all[i].Email, all[i].Name, all[i].Profile, all[i].RevokedAt = u.GetEmail(), u.GetName(), u.GetProfile(), moment(u.GetRevoked())
				all[i].FrozenAt = moment(u.GetFrozen())
				rows = append(rows, []string{all[i].ID.String(), all[i].Email, all[i].Name, all[i].Profile, text(all[i].RevokedAt), text(all[i].FrozenAt)})
			}
			return printed(c, a.json, all, rows)
		},
	}
}

func userFreeze(a *adminFlags, frozen bool) *cobra.Command {
	c := &cobra.Command{
		Use:   "unfreeze ORG EMAIL",
		Short: "Let a frozen user in again, as if nothing had been",
	}
	if frozen {
		c = &cobra.Command{
			Use:   "freeze ORG EMAIL",
			Short: "Refuse a user's devices until unfreeze, and cut off what they have under way",
			Long: `Refuses all devices of a user from now on, and cuts off what they have under way.
Nothing is taken away: after unfreeze they go on where they stood. The other
members notice nothing, and keys do not change. To end somebody's access for
good, an administrator of the organization revokes the user.`,
		}
	}
	c.Args = cobra.ExactArgs(2)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := a.connect()
		if err != nil {
			return err
		}
		_, err = ask(c.Context(), api.SetUser, &parsecv1.SetUserRequest{Organization: args[0], Email: args[1], Frozen: frozen})
		return err
	}
	return c
}
