package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/audit"
	"parsec/internal/client/files"
	"parsec/internal/client/session"
	"parsec/internal/cmdline"
)

// onTree calls act with the verified tree of a workspace, up to date, and a path.
func (r *run) onTree(c *cobra.Command, arg string, act func(context.Context, *files.Tree, string) error) error {
	a, err := parseRemote(arg, runtime.GOOS)
	if err != nil {
		return err
	}
	return r.With(c, func(ctx context.Context, s *session.Session) error {
		t, err := files.Open(ctx, s, a.workspace)
		if err != nil {
			return err
		}
		return act(ctx, t, a.path)
	})
}

// event is a record of a workspace's log in JSON.
type event struct {
	Index   uint64   `json:"index"`
	Time    string   `json:"time"`
	Author  string   `json:"author"`
	Device  string   `json:"device"`
	Kind    string   `json:"kind"`
	Changes []change `json:"changes"`
}

type change struct {
	Path string `json:"path"`
	What string `json:"what"`
}

func (r *run) log() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "log WORKSPACE:[/PATH]",
		Short: "Show who changed what, and when: the signed records",
		Long: `Shows the log of a workspace from its beginning, or only what changed at or
below a path. Each record is signed by its author's device and verified here.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.onTree(c, args[0], func(ctx context.Context, t *files.Tree, p string) error {
				all := []event{}
				rows := [][]string{{"INDEX", "TIME", "AUTHOR", "DEVICE", "KIND", "CHANGES"}}
				label := t.Workspace().Session().Label
				err := audit.Log(ctx, t, p, func(e audit.Event) error {
					told := eventOf(e)
					all = append(all, told)
					device := label(e.Author)
					if device == "" {
						device = told.Device[:8]
					}
					rows = append(rows, []string{fmt.Sprint(e.Index), cmdline.LocalTime(e.Time), e.User, device, told.Kind, inShort(told.Changes)})
					return nil
				})
				if err != nil {
					return err
				}
				return r.Print(all, func() [][]string { return rows })
			})
		},
	})
}

func eventOf(e audit.Event) event {
	told := event{
		Index: e.Index, Time: cmdline.Time(e.Time), Author: e.User, Device: e.Author.String(), Kind: e.Kind.String(),
		Changes: []change{},
	}
	for _, c := range e.Changes {
		told.Changes = append(told.Changes, change{c.Path, c.What})
	}
	return told
}

// maxTold is how many changes of a record a table names.
const maxTold = 3

func inShort(changes []change) string {
	var told []string
	for _, c := range changes {
		if len(told) < maxTold && (c.Path != "" || len(changes) == 1) {
			told = append(told, strings.TrimSpace(c.What+" "+c.Path))
		}
	}
	if more := len(changes) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(told, ", ")
}

func (r *run) verify() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "verify WORKSPACE:",
		Short: "Check the whole log and every block, as the server gives them now",
		Long: `Downloads everything again and checks it: both logs from their first record, the
manifest of every entry, and every block of every file. Says what it covered.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.onTree(c, args[0], func(ctx context.Context, t *files.Tree, p string) error {
				if strings.Trim(p, "/") != "" {
					return fault.Errorf(fault.Usage, "verify %s: a workspace is verified as a whole", args[0])
				}
				return r.verifyTree(ctx, t)
			})
		},
	})
}

// promiseContent is what a verification finds broken.
const promiseContent = "everything signed is there, unchanged"

func (r *run) verifyTree(ctx context.Context, t *files.Tree) error {
	progress := r.Console.Progress(0)
	report, err := audit.Verify(ctx, t, progress)
	progress.Close()
	if err != nil {
		return err
	}
	err = r.Print(report, func() [][]string {
		rows := [][]string{
			{"records", fmt.Sprint(report.Records)},
			{"manifests", fmt.Sprint(report.Manifests)},
			{"blocks", fmt.Sprint(report.Blocks)},
			{"bytes", fmt.Sprintf("%d (%s)", report.Bytes, cmdline.Size(report.Bytes))},
			{"failures", fmt.Sprint(len(report.Failures))},
		}
		for _, f := range report.Failures {
			rows = append(rows, []string{"  " + f.Path, f.Reason})
		}
		return rows
	})
	if err != nil || len(report.Failures) == 0 {
		return err
	}
	signed, err := audit.Problems(ctx, t)
	if err != nil {
		return err
	}
	name := t.Workspace().Name()
	if len(signed) == len(report.Failures) {
		return fault.WithHint(fault.Errorf(fault.Invalid, "verify %s: %s", name, cmdline.Counted(len(signed), "entry that a member signed cannot be shown", "entries that members signed cannot be shown")),
			"their authors are named above; everything else is as it was signed")
	}
	return fault.Broken(promiseContent, "verify %s: %s", name, cmdline.Counted(len(report.Failures), "check failed", "checks failed"))
}
