package people

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/session"
	"parsec/internal/cmdline"
	"parsec/internal/format/record"
)

func (r *run) user() *cobra.Command {
	c := &cobra.Command{
		Use: "user", Short: "See who is in the organization; revoke, or change a profile",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(r.userList(), r.userRevoke(), r.userSetProfile())
	return c
}

// user is a user in JSON.
type user struct {
	ID        id.User `json:"id"`
	Email     string  `json:"email"`
	Name      string  `json:"name"`
	Profile   string  `json:"profile"`
	RevokedAt *string `json:"revoked_at"`
}

func (r *run) userList() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "list",
		Short: "List the people of the organization",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				people := s.People()
				times, err := timesOf(ctx, s, people)
				if err != nil {
					return err
				}
				all := []user{}
				for _, p := range people {
					u := user{ID: p.ID, Email: p.Email, Name: p.Name, Profile: p.Profile().String()}
					if p.Revoked != 0 {
						at := cmdline.Time(times[p.Revoked])
						u.RevokedAt = &at
					}
					all = append(all, u)
				}
				return r.Print(all, func() [][]string { return userRows(people, times) })
			})
		},
	})
}

func userRows(people []session.Person, times map[uint64]int64) [][]string {
	rows := [][]string{{"E-MAIL", "NAME", "PROFILE", "ADDED", "REVOKED"}}
	for _, p := range people {
		revoked := "-"
		if p.Revoked != 0 {
			revoked = cmdline.LocalTime(times[p.Revoked])
		}
		email := p.Email
		if email == "" {
			email = p.ID.String()
		}
		rows = append(rows, []string{email, p.Name, p.Profile().String(), cmdline.LocalTime(times[p.Added]), revoked})
	}
	return rows
}

// timesOf returns when people were added and revoked, by index of the
// organization's log.
func timesOf(ctx context.Context, s *session.Session, people []session.Person) (map[uint64]int64, error) {
	var wanted []uint64
	for _, p := range people {
		wanted = append(wanted, p.Added)
		if p.Revoked != 0 {
			wanted = append(wanted, p.Revoked)
		}
	}
	slices.Sort(wanted)
	times := map[uint64]int64{}
	for _, index := range slices.Compact(wanted) {
		for kept, err := range s.Local().State.Records(ctx, id.Workspace{}, index-1) {
			if err != nil {
				return nil, err
			}
			signed, err := record.Parse(kept.Raw)
			if err != nil {
				return nil, err
			}
			times[index] = signed.Time
			break
		}
	}
	return times, nil
}

func (r *run) userRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke EMAIL",
		Short: "End somebody's access to everything, at once and for good",
		Long: `Revokes a user with all their devices. From then on the server refuses them, and
everybody else refuses what they sign. The key of each workspace that they were
a member of is rotated by the first device that may, before anything more is
written there. Only administrators revoke, and nobody themselves.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				p, err := s.RevokeUser(ctx, args[0])
				if err == nil {
					r.Console.Note("%s is revoked", p.Email)
				}
				return err
			})
		},
	}
}

func (r *run) userSetProfile() *cobra.Command {
	return &cobra.Command{
		Use:   "set-profile EMAIL admin|standard|outsider",
		Short: "Change what somebody may do in the organization",
		Long: `Changes a user's profile.

  admin     invites and revokes people; sees only workspaces shared with them
  standard  creates workspaces, and shares them
  outsider  creates none, is at most a contributor, and sees only the names of
            those they share a workspace with`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: second("admin", "standard", "outsider"),
		RunE: func(c *cobra.Command, args []string) error {
			profile, err := parseProfile(args[1])
			if err != nil {
				return err
			}
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				_, err := s.SetProfile(ctx, args[0], profile)
				return err
			})
		},
	}
}

func parseProfile(name string) (record.Profile, error) {
	p, err := record.ParseProfile(name)
	if err != nil {
		return p, fault.Errorf(fault.Usage, "%q is not a profile: admin, standard or outsider", name)
	}
	return p, nil
}

// second completes the second argument.
func second(choices ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return choices, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
