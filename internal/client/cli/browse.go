package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/files"
	"parsec/internal/cmdline"
	"parsec/internal/format/manifest"
)

// onEach calls act with the entry at each address, as this device shows it, or as
// it was.
func (r *run) onEach(c *cobra.Command, args []string, w *when, act func(context.Context, found) error) error {
	all, err := addresses(args, runtime.GOOS)
	if err != nil {
		return err
	}
	at, err := w.moment()
	if err != nil {
		return err
	}
	return r.onDesk(c, func(ctx context.Context, d *desk) error {
		for _, a := range all {
			look := d.stat
			if w.given() {
				look = func(ctx context.Context, a address) (found, error) { return d.statAt(ctx, a, at) }
			}
			f, err := look(ctx, a)
			if err != nil {
				return err
			}
			if err := act(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// entry is an entry in JSON.
type entry struct {
	Name       string  `json:"name"`
	Path       string  `json:"path"`
	Kind       string  `json:"kind"`
	Size       uint64  `json:"size"`
	Modified   *string `json:"modified"`
	Version    uint64  `json:"version"`
	Executable bool    `json:"executable"`
	Target     *string `json:"target"`
}

func entryOf(e files.Entry) entry {
	shown := entry{
		Name: e.Name(), Path: e.Path, Kind: e.Kind.String(), Size: e.Size(),
		Version: e.Version.Number, Executable: e.Executable(),
	}
	if e.Manifest.Kind != 0 { // the root folder of an empty workspace has no time
		at := cmdline.Time(e.Manifest.Modified)
		shown.Modified = &at
	}
	if e.Kind == manifest.Symlink {
		target := e.Target()
		shown.Target = &target
	}
	return shown
}

// cells returns an entry as a line of a table.
func cells(e files.Entry, name string) []string {
	kind, size, modified := "-", strconv.FormatUint(e.Size(), 10), "-"
	switch {
	case e.Kind == manifest.Folder:
		kind, size = "d", "-"
	case e.Kind == manifest.Symlink:
		kind, name = "l", name+" -> "+e.Target()
	case e.Executable():
		kind = "x"
	}
	if e.Manifest.Kind != 0 {
		modified = cmdline.LocalTime(e.Manifest.Modified)
	}
	return []string{kind, size, modified, name}
}

// longRows returns the lines of `ls -l`, with the sizes below each other.
func longRows(list []files.Entry) [][]string {
	var rows [][]string
	width := 0
	for _, e := range list {
		row := cells(e, e.Name())
		rows = append(rows, row)
		width = max(width, len(row[1]))
	}
	for _, row := range rows {
		row[1] = fmt.Sprintf("%*s", width, row[1])
	}
	return rows
}

// tellHidden warns of what members signed and cannot be shown.
func (r *run) tellHidden(ctx context.Context, f found) error {
	hidden, err := f.tree.Hidden(ctx)
	if err == nil && hidden > 0 {
		r.Console.Warn("%s in %s cannot be shown; `parsec verify %s:` says more", cmdline.Counted(hidden, "entry", "entries"), f.workspace, f.workspace)
	}
	return err
}

func (r *run) ls() *cobra.Command {
	var long, recursive bool
	var at when
	c := &cobra.Command{
		Use:   "ls WORKSPACE:[/PATH]...",
		Short: "List folders",
		Long: `Lists what is in folders, by name, as this device shows them: with what others
have committed, if the server answers, and with what was done here. Without the
server it lists what is on this device. With -l each line begins with the kind
(d for a folder, l for a link, x for an executable file), the size in bytes, and
when it was modified.

With --at it lists what was there at an earlier time, what is removed now
included. ` + aboutTime,
		Example: `  parsec ls -l plans:/
  parsec ls -l --at 2d plans:/
  parsec ls -R --json plans:/2026`,
		Args: cobra.MinimumNArgs(1),
	}
	c.Flags().BoolVarP(&long, "long", "l", false, "show kind, size and time")
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, "go down into folders")
	at.flag(c, "show what was there at `TIME`")
	c.RunE = func(c *cobra.Command, args []string) error {
		l := &listing{r: r, long: long, recursive: recursive, headed: recursive || len(args) > 1, all: []entry{}}
		err := r.onEach(c, args, &at, func(ctx context.Context, f found) error {
			if err := l.add(ctx, f); err != nil {
				return err
			}
			return r.tellHidden(ctx, f)
		})
		if err != nil {
			return err
		}
		if r.JSON {
			return cmdline.WriteJSON(r.Stdout, l.all)
		}
		return nil
	}
	return r.AsJSON(c)
}

// listing is one run of ls.
type listing struct {
	r               *run
	long, recursive bool
	// headed says that each folder's list has a title.
	headed, begun bool
	all           []entry
}

func (l *listing) add(ctx context.Context, f found) error {
	list, err := f.tree.List(ctx, f.Entry)
	if err != nil {
		return err
	}
	if err := l.write(f, list); err != nil || !l.recursive {
		return err
	}
	for _, e := range list {
		if e.Kind == manifest.Folder && e.ID != f.ID {
			if err := l.add(ctx, found{e, f.tree, f.workspace}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listing) write(f found, list []files.Entry) error {
	if l.r.JSON {
		for _, e := range list {
			l.all = append(l.all, entryOf(e))
		}
		return nil
	}
	out, console := l.r.Stdout, l.r.Console
	if l.headed && f.Kind == manifest.Folder {
		if l.begun {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, console.Shown(f.address(f.Path))+":")
	}
	l.begun = true
	if l.long {
		return cmdline.WriteTable(out, longRows(list))
	}
	for _, e := range list {
		if _, err := fmt.Fprintln(out, console.Shown(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) tree() *cobra.Command {
	var at when
	c := &cobra.Command{
		Use:   "tree WORKSPACE:[/PATH]...",
		Short: "Draw folders with all that is in them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			all := []entry{}
			err := r.onEach(c, args, &at, func(ctx context.Context, f found) error {
				if r.JSON {
					return files.Walk(ctx, f.tree, f.Entry, func(e files.Entry) error {
						all = append(all, entryOf(e))
						return nil
					})
				}
				if _, err := fmt.Fprintln(r.Stdout, cmdline.Safe(f.address(f.Path))); err != nil {
					return err
				}
				return draw(ctx, r.Stdout, f.tree, f.Entry, "")
			})
			if err == nil && r.JSON {
				err = cmdline.WriteJSON(r.Stdout, all)
			}
			return err
		},
	}
	at.flag(c, "draw what was there at `TIME`; see `parsec ls`")
	return r.AsJSON(c)
}

// draw draws what is in a folder, behind the branches that lead there.
func draw(ctx context.Context, w io.Writer, t files.Lister, folder files.Entry, branches string) error {
	if folder.Kind != manifest.Folder {
		return nil
	}
	all, err := t.List(ctx, folder)
	if err != nil {
		return err
	}
	for i, e := range all {
		branch, below := "├── ", "│   "
		if i == len(all)-1 {
			branch, below = "└── ", "    "
		}
		name := e.Name()
		if e.Kind == manifest.Symlink {
			name += " -> " + e.Target()
		}
		if _, err := fmt.Fprintln(w, branches+branch+cmdline.Safe(name)); err != nil {
			return err
		}
		if err := draw(ctx, w, t, e, branches+below); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) find() *cobra.Command {
	var at when
	c := &cobra.Command{
		Use:   "find WORKSPACE:[/PATH] PATTERN",
		Short: "Find entries by their names",
		Long: `Prints the path of each entry, at or below a folder, whose name fits a pattern:
* stands for any characters, ? for one, [abc] for one of these. Quote the
pattern, so that the shell leaves it alone.`,
		Example: `  parsec find plans:/ '*.pdf'`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			pattern := args[1]
			if _, err := path.Match(pattern, ""); err != nil {
				return fault.Errorf(fault.Usage, "%q is not a pattern: %w", pattern, err)
			}
			all := []entry{}
			err := r.onEach(c, args[:1], &at, func(ctx context.Context, f found) error {
				return files.Walk(ctx, f.tree, f.Entry, func(e files.Entry) error {
					if fits, _ := path.Match(pattern, e.Name()); !fits || e.Path == "/" {
						return nil
					}
					if r.JSON {
						all = append(all, entryOf(e))
						return nil
					}
					_, err := fmt.Fprintln(r.Stdout, r.Console.Shown(f.address(e.Path)))
					return err
				})
			})
			if err == nil && r.JSON {
				err = cmdline.WriteJSON(r.Stdout, all)
			}
			return err
		},
	}
	at.flag(c, "find what was there at `TIME`; see `parsec ls`")
	return r.AsJSON(c)
}

func (r *run) stat() *cobra.Command {
	var at when
	c := &cobra.Command{
		Use:   "stat WORKSPACE:[/PATH]...",
		Short: "Show all about entries",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			all := []entry{}
			var rows [][]string
			err := r.onEach(c, args, &at, func(ctx context.Context, f found) error {
				if len(rows) > 0 {
					rows = append(rows, []string{""})
				}
				author, err := f.tree.Author(ctx, f.Entry)
				all = append(all, entryOf(f.Entry))
				rows = append(rows, statRows(f, author)...)
				return err
			})
			if err != nil {
				return err
			}
			return r.Print(all, func() [][]string { return rows })
		},
	}
	at.flag(c, "show what was there at `TIME`; see `parsec ls`")
	return r.AsJSON(c)
}

func statRows(f found, author string) [][]string {
	e := entryOf(f.Entry)
	rows := [][]string{
		{"path", f.address(e.Path)},
		{"kind", e.Kind},
		{"size", fmt.Sprintf("%d (%s)", e.Size, cmdline.Size(e.Size))},
		{"version", fmt.Sprint(e.Version)},
		{"entry", f.ID.String()},
	}
	if e.Modified != nil {
		rows = append(rows, []string{"modified", *e.Modified}, []string{"created", cmdline.Time(f.Manifest.Created)},
			[]string{"written by", cmp.Or(author, "-")})
	}
	switch {
	case f.Local:
		rows = append(rows, []string{"sync", "stays on this device: its name is ignored"})
	case f.Pending:
		rows = append(rows, []string{"sync", "waits to be sent"})
	}
	if e.Kind == manifest.File.String() {
		rows = append(rows, []string{"executable", strconv.FormatBool(e.Executable)})
	}
	if e.Target != nil {
		rows = append(rows, []string{"target", *e.Target})
	}
	return rows
}

func (r *run) cat() *cobra.Command {
	var at when
	c := &cobra.Command{
		Use:   "cat WORKSPACE:/PATH...",
		Short: "Write the content of files to standard output",
		Long: `Writes the content of files to standard output, as this device has it. What was
read or written here before can be read without the server, as long as there is
room for it in the cache. With --at it writes what they held at an earlier time;
` + "`parsec ls --help`" + ` says how that is written.`,
		Example: `  parsec cat --at "2026-11-01 15:04" plans:/roof.txt`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.onEach(c, args, &at, func(ctx context.Context, f found) error {
				return f.tree.Content(ctx, f.Entry, r.Stdout)
			})
		},
	}
	at.flag(c, "write what was there at `TIME`")
	return c
}
