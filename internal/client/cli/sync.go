package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/remote"
	"parsec/internal/client/syncer"
	"parsec/internal/cmdline"
)

func (r *run) sync() *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "sync [WORKSPACE:]...",
		Short: "Push and pull now",
		Long: `Sends what this device has and the server does not, and fetches what others
wrote: in all workspaces, or in those that are named. What is still being
written is left for later; with --wait the command ends when nothing is left to
do.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return r.WithAgent(c, func(ctx context.Context, a *agent.Agent) error { return r.syncNow(ctx, a, args, wait) })
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until nothing is left to do")
	return c
}

func (r *run) syncNow(ctx context.Context, a *agent.Agent, names []string, wait bool) error {
	d, err := a.Syncing(ctx)
	if err != nil {
		return err
	}
	if err := a.Held().Sync(ctx); err != nil {
		return err
	}
	if err := d.Discover(ctx); err != nil {
		return err
	}
	chosen, err := chosen(d, names)
	if err != nil {
		return err
	}
	failed := eachAtOnce(ctx, chosen, func(ctx context.Context, s *syncer.Syncer) error {
		if wait {
			return s.Finish(ctx)
		}
		return s.Sync(ctx)
	})
	for _, s := range chosen {
		if n := s.Overlay().Pending(); n > 0 {
			r.Console.Note("%s: %s left", s.Workspace().Name(), cmdline.Counted(n, "change", "changes"))
		}
	}
	return failed
}

// atOnce is how many workspaces a command syncs at the same time.
const atOnce = 4

// eachAtOnce calls act for several workspaces at once, and returns the first of
// their errors in their order: one workspace keeps no other from going.
func eachAtOnce(ctx context.Context, all []*syncer.Syncer, act func(context.Context, *syncer.Syncer) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	failed := make([]error, len(all))
	for i, s := range all {
		group.Go(func() error {
			failed[i] = act(ctx, s)
			return nil
		})
	}
	_ = group.Wait() // what failed stands in failed
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// chosen returns the workspaces with the names, or all.
func chosen(d *syncer.Device, names []string) ([]*syncer.Syncer, error) {
	if len(names) == 0 {
		return d.Workspaces(), nil
	}
	var all []*syncer.Syncer
	for _, name := range names {
		s, err := d.Find(strings.TrimSuffix(name, ":"))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// workspaceStatus is how a workspace stands, as JSON shows it.
type workspaceStatus struct {
	Name      string        `json:"name"`
	ID        string        `json:"id"`
	State     string        `json:"state"`
	Reason    string        `json:"reason"`
	Hint      string        `json:"hint"`
	Since     string        `json:"since"`
	Pending   int           `json:"pending"`
	Conflicts int           `json:"conflicts"`
	Problems  []problemLine `json:"problems"`
}

type problemLine struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

func (r *run) status() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "status",
		Short: "Show how far this device and the server have the same",
		Long: `Shows for each workspace how far this device and the server have the same: in a
word, with how many changes wait, how many copies were made because others had
changed the same, and which entries cannot go.

  synced     nothing waits
  pending    something is about to be sent
  offline    the server cannot be reached; work goes on, and is sent later
  read-only  something waits, and you may only read this workspace
  archived   something waits, and an owner has archived this workspace
  frozen     the operator of the server has suspended you or the organization
  revoked    you, or this device, are not a member any more; work stays here
  clock      the clocks of this computer and of the server differ too much
  full       the server, or the disk here, has no room
  integrity  the server broke a promise; nothing of what it sent was believed
  failed     something else, as the reason says

Without an agent that keeps the workspaces in sync, the command looks by itself.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.WithAgent(c, r.showStatus) },
	})
}

func (r *run) showStatus(ctx context.Context, a *agent.Agent) error {
	d, err := a.Syncing(ctx)
	if err != nil {
		return err
	}
	if !a.Stays() {
		// How it stands, the syncers say; why it cannot be found out, too.
		once := remote.Once(ctx)
		err := errors.Join(a.Held().Sync(once), d.Discover(once))
		if fault.Is(err, fault.Integrity) || ctx.Err() != nil {
			return err
		}
		r.Offline = fault.Is(err, fault.Unreachable)
		_ = eachAtOnce(once, d.Workspaces(), func(ctx context.Context, s *syncer.Syncer) error { return s.Sync(ctx) })
	}
	all := []workspaceStatus{}
	for _, s := range d.Workspaces() {
		all = append(all, statusOf(s.Status(ctx)))
	}
	return r.Print(struct {
		Workspaces []workspaceStatus `json:"workspaces"`
	}{all}, func() [][]string { return r.statusRows(all) })
}

func statusOf(s syncer.Status) workspaceStatus {
	out := workspaceStatus{
		Name: s.Name, ID: s.ID.String(), State: string(s.State), Reason: s.Reason, Hint: s.Hint,
		Since: cmdline.Time(s.Since.UnixNano()), Pending: s.Pending, Conflicts: s.Conflicts, Problems: []problemLine{},
	}
	for _, p := range s.Problems {
		out.Problems = append(out.Problems, problemLine(p))
	}
	return out
}

// statusRows returns what people see: a line for each workspace, and below it
// what is wrong.
func (r *run) statusRows(all []workspaceStatus) [][]string {
	rows := [][]string{{"NAME", "STATE", "PENDING", "CONFLICTS", "WHY"}}
	for _, s := range all {
		why := s.Reason
		if why == "" && len(s.Problems) > 0 {
			why = cmdline.Counted(len(s.Problems), "entry cannot go", "entries cannot go")
		}
		rows = append(rows, []string{s.Name, s.State, strconv.Itoa(s.Pending), strconv.Itoa(s.Conflicts), why})
		for _, p := range s.Problems {
			rows = append(rows, []string{"", "", "", "", fmt.Sprintf("%s: %s", p.Path, p.Reason)})
		}
	}
	return rows
}
