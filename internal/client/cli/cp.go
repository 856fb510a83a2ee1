package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/cli/terminal"
	"parsec/internal/client/files"
	"parsec/internal/client/history"
	"parsec/internal/format/manifest"
)

func (r *run) cp() *cobra.Command {
	job := &copying{r: r}
	c := &cobra.Command{
		Use:   "cp [-r] [--update] SOURCE... DESTINATION",
		Short: "Copy files and folders: in, out, within and between workspaces",
		Long: `Copies as cp does. Either side may be local or in a workspace. Where the
destination is a folder, the copies go into it; otherwise it is the copy's name.
A source that ends in /. , and the root folder of a workspace, stand for what is
in the folder. - is standard input or output.

Modification times, executable bits and links are kept. Links are copied as they
are, and never followed; one that leads out of what is copied is warned of.
Within a workspace nothing is uploaded.

A copy that breaks off leaves whole files, and the same command with --update
goes on: it passes over what is there with the same size, time and mode. With
--update a folder is brought up to date where the destination has its name.

With --at, what is copied from a workspace is what was there at an earlier time;
` + "`parsec ls --help`" + ` says how that is written.

What was done on this device and is not sent yet is sent before. Without the
server, copies into a workspace are kept on this device, a file at a time, and
sent with the next sync; and what is on this device can be copied out.`,
		Example: `  parsec cp -r ~/Documents/plans plans:/
  parsec cp -r --at 3d plans:/2026 ~/plans-of-then
  parsec cp plans:/plans/roof.pdf .
  parsec cp -r --update plans:/ ~/plans-copy
  pg_dump shop | parsec cp - backup:/shop.sql --password-file ~/.parsec-password`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return job.run(c, args) },
	}
	c.Flags().BoolVarP(&job.recursive, "recursive", "r", false, "copy folders, with all that is in them")
	c.Flags().BoolVar(&job.update, "update", false, "pass over what is there already, unchanged")
	job.at.flag(c, "copy what was there at `TIME`")
	return c
}

// copying is one run of cp.
type copying struct {
	r                 *run
	recursive, update bool
	at                when
	// then is the moment of at.
	then history.Moment
	// past are the workspaces as they were, by the names that the command calls them.
	past map[string]*files.Tree

	sources  []*source
	to       address
	desk     *desk
	progress *terminal.Progress
}

// source is one thing to be copied.
type source struct {
	address
	// name is what a copy in a folder is called.
	name   string
	folder bool
	// contents says that only what is in the folder is copied.
	contents bool
	// file is the local path to read.
	file string
	// entry is that of a source in a workspace, and from where it is.
	entry files.Entry
	from  *shown
	// past is where it was, if that is asked for.
	past *files.Tree
}

func (j *copying) run(c *cobra.Command, args []string) error {
	for _, arg := range args[:len(args)-1] {
		j.sources = append(j.sources, &source{address: parseAddress(arg, runtime.GOOS)})
	}
	j.to = parseAddress(args[len(args)-1], runtime.GOOS)
	if err := j.check(); err != nil {
		return err
	}
	var err error
	if j.then, err = j.at.moment(); err != nil {
		return err
	}
	for _, s := range j.sources {
		if err := j.lookLocally(s); err != nil {
			return err
		}
	}
	err = j.r.onDesk(c, j.copy)
	if err != nil && c.Context().Err() != nil && !fault.Is(err, fault.Integrity) {
		err = fault.WithHint(fault.Errorf(fault.Canceled, "copy was interrupted: %w", err),
			"what was copied whole is kept; the same command with --update goes on")
	}
	return err
}

// check refuses combinations of sources and destination that mean nothing.
func (j *copying) check() error {
	remote := j.to.remote()
	if j.at.given() && !slices.ContainsFunc(j.sources, func(s *source) bool { return s.remote() }) {
		return fault.Errorf(fault.Usage, "copy: --at says of which time a source in a workspace is, and there is none")
	}
	for _, s := range j.sources {
		remote = remote || s.remote()
		if s.stream && (len(j.sources) > 1 || !j.to.remote()) {
			return fault.Errorf(fault.Usage, "copy: standard input is copied alone, and into a workspace")
		}
	}
	if j.to.stream && (len(j.sources) > 1 || !remote) {
		return fault.Errorf(fault.Usage, "copy: one file of a workspace is copied to standard output")
	}
	if !remote {
		return fault.WithHint(fault.Errorf(fault.Usage, "copy: neither side is in a workspace"), "write workspace:/path")
	}
	return nil
}

// lookLocally finds out about a local source before anything is opened.
func (j *copying) lookLocally(s *source) error {
	if !s.local() {
		return nil
	}
	s.file = j.r.Local(s.path)
	info, err := os.Lstat(s.file)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && !j.recursive {
		// What a link names is copied, as by cp, unless links are copied too.
		if s.file, err = filepath.EvalSymlinks(s.file); err == nil {
			info, err = os.Stat(s.file)
		}
	}
	if err != nil {
		return fault.Errorf(fault.NotFound, "copy %s: %w", s.path, inner(err))
	}
	absolute, err := j.r.Absolute(s.path)
	if err != nil {
		return fault.Errorf(fault.Failed, "copy %s: %w", s.path, err)
	}
	s.name, s.folder = filepath.Base(absolute), info.IsDir()
	s.contents = s.folder && (endsInDot(filepath.ToSlash(s.path)) || s.name == string(filepath.Separator))
	return j.checkFolder(s)
}

func (j *copying) checkFolder(s *source) error {
	if s.folder && !j.recursive {
		return fault.WithHint(fault.Errorf(fault.Usage, "copy %s: it is a folder", s.text), "-r copies it with all that is in it")
	}
	return nil
}

// inner returns an error of the file system without the path that it names.
func inner(err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err
	}
	return err
}

func (j *copying) copy(ctx context.Context, d *desk) error {
	j.desk = d
	names := map[string]bool{}
	for _, s := range j.sources {
		if err := j.lookRemotely(ctx, s); err != nil {
			return err
		}
		if names[s.name] && !s.contents {
			return fault.Errorf(fault.Usage, "copy: two sources are called %q", s.name)
		}
		names[s.name] = true
	}
	j.progress = j.r.Console.Progress(j.measure(ctx))
	defer j.progress.Close()
	switch {
	case j.to.stream:
		return j.content(ctx, j.sources[0], j.r.Stdout)
	case j.to.remote():
		return j.in(ctx)
	}
	return j.out(ctx)
}

// content writes the content of a source: in large parts, if the server has it.
func (j *copying) content(ctx context.Context, s *source, w io.Writer) error {
	if s.past != nil {
		return s.past.Content(ctx, s.entry, w)
	}
	if j.desk.offline != nil || !s.from.Stored(ctx, s.entry) {
		return s.from.Content(ctx, s.entry, w)
	}
	tree := files.New(s.from.sync.Mirror())
	e, err := inTree(ctx, tree, s)
	if err != nil {
		return err
	}
	return tree.Content(ctx, e, w)
}

// inTree returns a source as the verified tree has it.
func inTree(ctx context.Context, tree *files.Tree, s *source) (files.Entry, error) {
	p, err := s.from.Canonical(ctx, s.entry)
	if err != nil {
		return files.Entry{}, err
	}
	return tree.Stat(ctx, p)
}

// lookRemotely finds a source in a workspace.
func (j *copying) lookRemotely(ctx context.Context, s *source) error {
	if !s.remote() {
		return nil
	}
	var err error
	if s.from, err = j.desk.workspace(ctx, s.workspace); err != nil {
		return err
	}
	if j.at.given() {
		if s.past, err = j.pastOf(ctx, s); err == nil {
			s.entry, err = s.past.Stat(ctx, s.path)
		}
	} else {
		s.entry, err = s.from.Stat(ctx, s.path)
	}
	if err != nil {
		return err
	}
	s.name, s.folder = s.entry.Name(), s.entry.Kind == manifest.Folder
	s.contents = s.folder && (s.entry.Path == "/" || endsInDot(s.path))
	return j.checkFolder(s)
}

// pastOf returns the workspace of a source as it was.
func (j *copying) pastOf(ctx context.Context, s *source) (*files.Tree, error) {
	if past, ok := j.past[s.workspace]; ok {
		return past, nil
	}
	past, err := j.desk.past(ctx, s.workspace, j.then)
	if err != nil {
		return nil, err
	}
	if j.past == nil {
		j.past = map[string]*files.Tree{}
	}
	j.past[s.workspace] = past
	return past, nil
}

// tree returns what a source in a workspace is listed in.
func (s *source) tree() files.Lister {
	if s.past != nil {
		return s.past
	}
	return s.from
}

// measure returns how much there is to copy, where somebody sees it.
func (j *copying) measure(ctx context.Context) uint64 {
	var total uint64
	if !j.r.Console.Drawn() {
		return 0
	}
	for _, s := range j.sources {
		switch {
		case s.remote(): // what cannot be read is met again, and told, by the copy
			_ = files.Walk(ctx, s.tree(), s.entry, func(e files.Entry) error {
				if e.Kind == manifest.File {
					total += e.Size()
				}
				return nil
			})
		case s.local():
			_ = filepath.WalkDir(s.file, func(_ string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					if info, err := d.Info(); err == nil {
						total += uint64(info.Size())
					}
				}
				return ctx.Err()
			})
		}
	}
	return total
}

func (j *copying) options() files.CopyOptions {
	return files.CopyOptions{Update: j.update, Progress: j.progress}
}

// notAFolder is the error of several sources for one name.
func (j *copying) notAFolder() error {
	return fault.WithHint(fault.Errorf(fault.NotFound, "copy %d sources: %s is not a folder that is there", len(j.sources), j.to.text),
		"`parsec mkdir` makes one in a workspace")
}

func (s *source) describe() string { return fmt.Sprintf("copy %s to", s.text) }
