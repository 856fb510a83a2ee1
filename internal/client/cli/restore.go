package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/files"
	"parsec/internal/client/history"
	"parsec/internal/cmdline"
)

func (r *run) restore() *cobra.Command {
	job := &restoring{r: r, all: []files.Restored{}}
	c := &cobra.Command{
		Use:   "restore --at TIME WORKSPACE:[/PATH]...",
		Short: "Bring files and folders back as they were",
		Long: `Brings back what was at a path at an earlier time, and with a folder all that
was in it, removed or changed since, as new versions: nothing is uploaded, and
what was there in between stays in the log. Content, time and mode are those of
then.

What is at or below the path now and was not there then stays; ` + "`parsec rm`" + `
removes it. What was moved away stays where it is, and comes back as a copy.
Folders above the path that are gone come back without what else was in them.
A file never takes the place of a folder, nor a folder that of a file: such an
entry is skipped and named. Done twice, the second time changes nothing.

With --dry-run it says what it would do, and changes nothing.

` + aboutTime,
		Example: `  parsec restore --at 2h plans:/roof.txt
  parsec restore --at "2026-11-01 15:04" --dry-run plans:/2026
  parsec restore --at @57 plans:`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return job.run(c, args) },
	}
	job.at.flag(c, "the `TIME` to which to go back")
	c.Flags().BoolVar(&job.dry, "dry-run", false, "say what would be done, and do nothing")
	return r.AsJSON(c)
}

// restoring is one run of restore.
type restoring struct {
	r   *run
	at  when
	dry bool
	// all and rows are what was done.
	all  []files.Restored
	rows [][]string
}

func (j *restoring) run(c *cobra.Command, args []string) error {
	paths, err := addresses(args, runtime.GOOS)
	if err != nil {
		return err
	}
	if !j.at.given() {
		return fault.WithHint(fault.Errorf(fault.Usage, "restore: to which time is not said"), "give --at TIME; `parsec log` shows what happened when")
	}
	at, err := j.at.moment()
	if err != nil {
		return err
	}
	return j.r.onDesk(c, func(ctx context.Context, d *desk) error {
		var failed error
		for _, a := range paths {
			if failed = j.one(ctx, d, a, at); failed != nil {
				break
			}
		}
		if err := j.tell(failed); err != nil && failed == nil {
			return err
		}
		return failed
	})
}

// one restores a path of a workspace, on top of all that was done on this device.
func (j *restoring) one(ctx context.Context, d *desk, a address, at history.Moment) error {
	s, err := d.workspace(ctx, a.workspace)
	if err != nil {
		return err
	}
	t := files.New(s.sync.Mirror())
	if !j.dry {
		if t, err = d.committing(ctx, a.workspace); err != nil {
			return err
		}
	}
	past, err := files.At(ctx, t.Mirror, at)
	if err != nil {
		return err
	}
	progress := j.r.Console.Progress(0)
	did, err := t.Restore(ctx, past, a.path, files.RestoreOptions{DryRun: j.dry, Progress: progress})
	progress.Close()
	for _, e := range did {
		j.rows = append(j.rows, []string{e.What, j.r.Console.Shown(a.workspace + ":" + e.Path)})
	}
	j.all = append(j.all, did...)
	if refreshed := s.sync.Refresh(ctx); err == nil {
		err = refreshed
	}
	return err
}

// tell says what was done, until something failed if it did.
func (j *restoring) tell(failed error) error {
	switch n := cmdline.Counted(len(j.all), "entry", "entries"); {
	case failed != nil && len(j.all) == 0:
	case len(j.all) == 0:
		j.r.Console.Note("all is as it was then")
	case j.dry:
		j.r.Console.Note("%s would be brought back; nothing was changed", n)
	default:
		j.r.Console.Note("%s brought back", n)
	}
	if j.r.JSON {
		return cmdline.WriteJSON(j.r.Stdout, j.all)
	}
	return cmdline.WriteTable(j.r.Stdout, j.rows)
}
