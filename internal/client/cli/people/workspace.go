package people

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/session"
	"parsec/internal/client/workspace"
	"parsec/internal/cmdline"
	"parsec/internal/format/record"
)

func (r *run) workspace() *cobra.Command {
	c := &cobra.Command{
		Use:   "workspace",
		Short: "Create workspaces, and share them",
		Long: `A workspace is a folder with its own key, its own members, and a log of who
wrote what. It is called by its name or its id.`,
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(r.workspaceCreate(), r.workspaceList(), r.workspaceMembers(), r.workspaceShare(), r.workspaceUnshare(), r.workspaceRotate(),
		r.workspaceRename(), r.workspaceArchive(), r.workspaceUnarchive(), r.workspaceTakeOwnership())
	return c
}

// workspaceShown is a workspace in JSON.
type workspaceShown struct {
	ID    id.Workspace `json:"id"`
	Name  string       `json:"name"`
	Role  string       `json:"role"`
	State string       `json:"state"`
	// OthersSeen is when somebody else was heard last; null for never.
	OthersSeen *string `json:"others_seen"`
}

func shown(w *workspace.Workspace) workspaceShown {
	state := "active"
	if w.Log().Archived() {
		state = "archived"
	}
	shown := workspaceShown{ID: w.ID(), Name: w.Name(), Role: w.Role().String(), State: state}
	if at, ok := w.OthersSeen(); ok {
		seen := cmdline.Time(at.UnixNano())
		shown.OthersSeen = &seen
	}
	return shown
}

func workspaceRows(all []workspaceShown) [][]string {
	rows := [][]string{{"NAME", "ROLE", "STATE", "OTHERS SEEN", "ID"}}
	for _, w := range all {
		seen := "never"
		if w.OthersSeen != nil {
			seen = *w.OthersSeen
		}
		rows = append(rows, []string{w.Name, w.Role, w.State, seen, w.ID.String()})
	}
	return rows
}

func (r *run) workspaceCreate() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "create NAME",
		Short: "Create a workspace, with you as its owner",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				w, err := workspace.Create(ctx, s, args[0])
				if err != nil {
					return err
				}
				made := shown(w)
				return r.Print(made, func() [][]string { return workspaceRows([]workspaceShown{made}) })
			})
		},
	})
}

func (r *run) workspaceList() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "list",
		Short: "List the workspaces that you are a member of",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				found, err := workspace.List(ctx, s)
				if err != nil {
					return err
				}
				all := []workspaceShown{}
				for _, w := range found {
					all = append(all, shown(w))
				}
				return r.Print(all, func() [][]string { return workspaceRows(all) })
			})
		},
	})
}

// member is a member of a workspace in JSON.
type member struct {
	Email string `json:"email"`
	Role  string `json:"role"`
}

func (r *run) workspaceMembers() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "members WORKSPACE",
		Short: "List the members of a workspace with their roles",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.inWorkspace(c, args[0], func(_ context.Context, w *workspace.Workspace) error {
				all := []member{}
				rows := [][]string{{"E-MAIL", "NAME", "ROLE"}}
				for _, m := range w.Members() {
					email := w.Session().EmailOf(m.ID)
					all = append(all, member{email, m.Role.String()})
					rows = append(rows, []string{email, m.Name, m.Role.String()})
				}
				return r.Print(all, func() [][]string { return rows })
			})
		},
	})
}

// inWorkspace opens a session and a workspace in it. A rotation that is due is
// done first.
func (r *run) inWorkspace(c *cobra.Command, name string, act func(context.Context, *workspace.Workspace) error) error {
	return r.With(c, func(ctx context.Context, s *session.Session) error {
		w, err := workspace.Find(ctx, s, name)
		if err != nil {
			return err
		}
		if err := w.Maintain(ctx); err != nil {
			return err
		}
		return act(ctx, w)
	})
}

func (r *run) workspaceShare() *cobra.Command {
	var role string
	var newIdentity bool
	c := &cobra.Command{
		Use:   "share WORKSPACE EMAIL --role ROLE",
		Short: "Share a workspace with somebody, or change their role",
		Long: `Gives somebody a role in a workspace, and with it the workspace's key.

  reader       reads everything, from the beginning
  contributor  writes too
  manager      also adds and removes those two, and rotates the key
  owner        also gives any role`,
		Example: `  parsec workspace share plans bob@example.com --role contributor`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if role == "" {
				return fault.WithHint(fault.Errorf(fault.Usage, "share %s: no role is given", args[0]), "give --role reader, contributor, manager or owner")
			}
			to, err := record.ParseRole(role)
			if err != nil {
				return fault.Errorf(fault.Usage, "%q is not a role: reader, contributor, manager or owner", role)
			}
			return r.inWorkspace(c, args[0], func(ctx context.Context, w *workspace.Workspace) error {
				p, err := w.Session().Find(args[1])
				if err != nil {
					return err
				}
				if err := r.checkIdentity(ctx, w.Session(), p, newIdentity); err != nil {
					return err
				}
				return w.Share(ctx, p, to)
			})
		},
	}
	c.Flags().StringVar(&role, "role", "", "`role` to give: reader, contributor, manager or owner")
	c.Flags().BoolVar(&newIdentity, "new-identity", false, "the address was another user's before, and you have checked who has it now")
	r.Complete(c, "role", cobra.FixedCompletions([]string{"reader", "contributor", "manager", "owner"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// checkIdentity refuses somebody whose address was that of a revoked user,
// unless the caller says that this is known: an address that changed hands
// must not carry trust with it.
func (r *run) checkIdentity(ctx context.Context, s *session.Session, p session.Person, known bool) error {
	before, reused := s.Reused(p)
	if !reused || p.ID == s.Self().ID {
		return nil
	}
	times, err := timesOf(ctx, s, []session.Person{before, p})
	if err != nil {
		return err
	}
	by := "the first administrator"
	if d, ok := s.Organization().Device(p.AddedBy); ok {
		by = s.EmailOf(d.User)
	}
	who := fmt.Sprintf("%s was another user's address until %s; who has it now was added by %s on %s and has the key %x",
		p.Email, cmdline.LocalTime(times[before.Revoked]), by, cmdline.LocalTime(times[p.Added]), p.Key().Digest())
	if known {
		r.Console.Note("%s", who)
		return nil
	}
	return fault.WithHint(fault.Errorf(fault.Conflict, "share with %s: %s", p.Email, who), "make sure who that is, and give --new-identity")
}

func (r *run) workspaceUnshare() *cobra.Command {
	return &cobra.Command{
		Use:   "unshare WORKSPACE EMAIL",
		Short: "Remove somebody from a workspace, and rotate its key",
		Long: `Removes a member and gives the workspace a new key, in one step. What the member
has read is known to them; what is written from now on they cannot open.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return r.inWorkspace(c, args[0], func(ctx context.Context, w *workspace.Workspace) error {
				p, err := w.Session().Find(args[1])
				if err != nil {
					return err
				}
				return w.Unshare(ctx, p)
			})
		},
	}
}

func (r *run) workspaceRotate() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate WORKSPACE",
		Short: "Give a workspace a new key",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.inWorkspace(c, args[0], func(ctx context.Context, w *workspace.Workspace) error {
				if err := w.Rotate(ctx); err != nil {
					return err
				}
				r.Console.Note("%s has generation %d of its key now", w.Name(), w.Log().Generation())
				return nil
			})
		},
	}
}
