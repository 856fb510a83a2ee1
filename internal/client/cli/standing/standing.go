// Package standing has the commands that say how far this device and the server have
// the same, and that make it so now. They ask the process that holds the device, be
// it this one or another, and print what it says.
package standing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/agent"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/home"
	"parsec/internal/client/socket"
	"parsec/internal/cmdline"
)

// run is one run of the program, for the commands of this package.
type run struct{ *frame.Run }

// Commands returns the commands.
func Commands(f *frame.Run) []*cobra.Command {
	r := &run{f}
	return []*cobra.Command{r.sync(), r.status()}
}

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
			request := &agentv1.SyncRequest{Wait: wait}
			for _, name := range args {
				request.Workspaces = append(request.Workspaces, strings.TrimSuffix(name, ":"))
			}
			return r.WithAPI(c, func(ctx context.Context, a agent.API) error { return r.syncNow(ctx, a, request) })
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until nothing is left to do")
	return c
}

func (r *run) syncNow(ctx context.Context, a agent.API, request *agentv1.SyncRequest) error {
	done, err := a.Sync(ctx, request)
	for _, w := range done.GetWorkspaces() {
		if n := w.GetPending(); n > 0 {
			r.Console.Note("%s: %s left", w.GetName(), cmdline.Counted(int(n), "change", "changes"))
		}
	}
	return err
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
	Complete  bool          `json:"complete"`
	Problems  []problemLine `json:"problems"`
	More      int           `json:"more_problems"`
}

type problemLine struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

func (r *run) status() *cobra.Command {
	var watch bool
	c := r.AsJSON(&cobra.Command{
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

Without an agent that keeps the workspaces in sync, the command looks by itself.

With --watch it asks the agent to tell what changes, until Ctrl-C or until the
agent ends: a line for each workspace that stands otherwise than before. With
--json each line is a document like that of status, with those workspaces that
changed, and under "gone" the ids of those that are not there any more.`,
		Example: `  parsec status
  parsec status --watch --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if watch {
				return r.watchAgent(c)
			}
			return r.WithAPI(c, r.showStatus)
		},
	})
	c.Flags().BoolVar(&watch, "watch", false, "go on, and tell what changes")
	return c
}

func (r *run) showStatus(ctx context.Context, a agent.API) error {
	said, err := a.Status(ctx)
	if err != nil {
		return err
	}
	r.Offline = said.GetOffline()
	all, err := statusOf(said.GetWorkspaces())
	if err != nil {
		return err
	}
	return r.Print(document{Workspaces: all}, func() [][]string { return r.statusRows(all) })
}

// document is what --json prints.
type document struct {
	Workspaces []workspaceStatus `json:"workspaces"`
	Gone       []string          `json:"gone,omitempty"`
}

func statusOf(said []*agentv1.Workspace) ([]workspaceStatus, error) {
	all := []workspaceStatus{}
	for _, w := range said {
		own, err := id.FromBytes[id.Workspace](w.GetWorkspace())
		if err != nil {
			return nil, fault.Errorf(fault.Failed, "ask the process that holds the device: %w", err)
		}
		out := workspaceStatus{
			Name: w.GetName(), ID: own.String(), State: w.GetState(), Reason: w.GetReason(), Hint: w.GetHint(),
			Since: cmdline.Time(w.GetSince()), Pending: int(w.GetPending()), Conflicts: int(w.GetConflicts()),
			Complete: w.GetComplete(), Problems: []problemLine{}, More: int(w.GetMoreProblems()),
		}
		for _, p := range w.GetProblems() {
			out.Problems = append(out.Problems, problemLine{p.GetPath(), p.GetReason()})
		}
		all = append(all, out)
	}
	return all, nil
}

// statusRows returns what people see: a line for each workspace, and below it
// what is wrong.
func (r *run) statusRows(all []workspaceStatus) [][]string {
	rows := [][]string{{"NAME", "STATE", "PENDING", "CONFLICTS", "WHY"}}
	for _, s := range all {
		rows = append(rows, []string{s.Name, s.State, strconv.Itoa(s.Pending), strconv.Itoa(s.Conflicts), s.why()})
		for _, p := range s.Problems {
			rows = append(rows, []string{"", "", "", "", fmt.Sprintf("%s: %s", p.Path, p.Reason)})
		}
		if s.More > 0 {
			rows = append(rows, []string{"", "", "", "", fmt.Sprintf("and %d more", s.More)})
		}
	}
	return rows
}

// why says in a few words what there is to know beside the state.
func (s workspaceStatus) why() string {
	switch {
	case s.Reason != "":
		return s.Reason
	case len(s.Problems) > 0:
		return cmdline.Counted(len(s.Problems)+s.More, "entry cannot go", "entries cannot go")
	case !s.Complete:
		return "what is asked for is fetched first, the rest meanwhile"
	}
	return ""
}

// watchAgent watches the agent that holds the chosen device. To look by itself all
// the time is not for a command: nothing would sync meanwhile.
func (r *run) watchAgent(c *cobra.Command) error {
	p, f, err := r.Choose(c)
	if err != nil {
		return err
	}
	a := agent.Dial(home.Folder(p.Home, f.Device))
	defer a.Close()
	if err := r.watch(c.Context(), a); !errors.Is(err, socket.ErrNobody) {
		return err
	}
	return agent.ErrNone
}

// watch tells what changes until the context or the agent ends.
func (r *run) watch(ctx context.Context, a agent.API) error {
	names := map[string]string{}
	err := a.Watch(ctx, func(news *agentv1.WatchResponse) error {
		all, err := statusOf(news.GetWorkspaces())
		if err != nil {
			return err
		}
		d := document{Workspaces: all}
		for _, gone := range news.GetGone() {
			own, err := id.FromBytes[id.Workspace](gone)
			if err != nil {
				return fault.Errorf(fault.Failed, "ask the agent: %w", err)
			}
			d.Gone = append(d.Gone, own.String())
		}
		if r.JSON {
			return cmdline.WriteJSONLine(r.Stdout, d)
		}
		return r.tell(names, d)
	})
	switch {
	case err == nil:
		return fault.Errorf(fault.Failed, "watch workspaces: the agent has ended")
	case ctx.Err() != nil && !fault.Is(err, fault.Integrity):
		return nil // that is how a person ends it
	}
	return err
}

// tell writes a line for each workspace, with the time of day.
func (r *run) tell(names map[string]string, d document) error {
	now := time.Now().Format(time.TimeOnly)
	for _, s := range d.Workspaces {
		names[s.ID] = s.Name
		line := fmt.Sprintf("%s  %s  %s, %d pending", now, r.Console.Shown(s.Name), s.State, s.Pending)
		if s.Conflicts > 0 {
			line += ", " + cmdline.Counted(s.Conflicts, "conflict", "conflicts")
		}
		if why := s.why(); why != "" {
			line += ": " + r.Console.Shown(why)
		}
		if _, err := fmt.Fprintln(r.Stdout, line); err != nil {
			return err
		}
	}
	for _, gone := range d.Gone {
		if _, err := fmt.Fprintf(r.Stdout, "%s  %s  gone\n", now, r.Console.Shown(names[gone])); err != nil {
			return err
		}
	}
	return nil
}
