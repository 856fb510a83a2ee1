package cli

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/files"
	"parsec/internal/cmdline"
	"parsec/internal/format/manifest"
)

// goal is where in a workspace a copy goes: into a folder under a name, or,
// without a name, into the folder itself.
type goal struct {
	into files.Entry
	name string
	// mark is set while a folder's copy is made that was not there before.
	mark *mark
}

// in copies all sources into a workspace. Local ones that go to the same
// folder go together.
func (j *copying) in(ctx context.Context) error {
	t, err := j.desk.workspace(ctx, j.to.workspace)
	if err != nil {
		return err
	}
	if err := t.sync.MayWrite(); err != nil {
		return err
	}
	into, err := j.into(ctx, t)
	if err != nil {
		return err
	}
	var together []files.Source
	var folder files.Entry
	for _, s := range j.sources {
		g, err := j.goal(ctx, t.Local, s)
		if err != nil {
			return err
		}
		if s.local() && len(j.sources) > 1 {
			together, folder = append(together, files.Source{Path: s.file, Name: g.name}), g.into
			continue
		}
		if err := g.mark.around(ctx, j.desk, func() error { return j.inOne(ctx, into, t, s, g) }); err != nil {
			return err
		}
	}
	if len(together) == 0 {
		return nil
	}
	return into.importAll(ctx, together, folder, j.options())
}

// into returns how copies come into a workspace: in commits of many files, or,
// where the server or local work does not allow that, through the local tree.
func (j *copying) into(ctx context.Context, t *shown) (in, error) {
	tree, err := j.desk.bulk(ctx, t)
	for _, s := range j.sources {
		if err == nil && tree != nil && s.remote() && s.past == nil {
			if s.entry.Local { // no commit has it
				tree = nil
				break
			}
			var from *files.Tree
			if from, err = j.desk.bulk(ctx, s.from); from == nil {
				tree = nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if tree != nil {
		return inBulk{tree, &aside{desk: j.desk, to: t}}, nil
	}
	return inLocal{t.Local}, j.desk.change(t)
}

// aside is what a copy in bulk leaves out, since its name is ignored: it stays on
// this device, as if a program had written it there.
type aside struct {
	desk *desk
	to   *shown
	from []asideSource
}

type asideSource struct {
	files.Source
	folder string
}

func (a *aside) take(from files.Source, folder string) bool {
	ignored := a.desk.all.Ignored().Has(from.Name)
	if ignored {
		a.from = append(a.from, asideSource{from, folder})
	}
	return ignored
}

// copy copies what was taken, once the folders are there that it goes to.
func (a *aside) copy(ctx context.Context, o files.CopyOptions) error {
	if len(a.from) == 0 {
		return nil
	}
	if err := a.to.sync.Refresh(ctx); err != nil {
		return err
	}
	for _, s := range a.from {
		into, err := a.to.Stat(ctx, s.folder)
		if err != nil {
			return err
		}
		if err := a.to.Import(ctx, []files.Source{s.Source}, into, o); err != nil {
			return err
		}
	}
	a.desk.r.Console.Note("%s: %s on this device: `parsec ignore list` shows which names do", a.to.sync.Name(), cmdline.Counted(len(a.from), "entry stays", "entries stay"))
	a.from = nil
	return a.to.Keep(ctx)
}

// in is a way for copies into a workspace.
type in interface {
	importAll(ctx context.Context, from []files.Source, into files.Entry, o files.CopyOptions) error
	importStream(ctx context.Context, r io.Reader, into files.Entry, name string, o files.CopyOptions) error
	// copyIn copies a source in a workspace, or with an empty name what is in it.
	copyIn(ctx context.Context, s *source, into files.Entry, name string, o files.CopyOptions) error
}

// inBulk commits many files at once.
type inBulk struct {
	tree  *files.Tree
	aside *aside
}

func (b inBulk) importAll(ctx context.Context, from []files.Source, into files.Entry, o files.CopyOptions) error {
	o.Aside = b.aside.take
	if err := b.tree.ImportAll(ctx, from, into, o); err != nil {
		return err
	}
	return b.aside.copy(ctx, o)
}

func (b inBulk) importStream(ctx context.Context, r io.Reader, into files.Entry, name string, o files.CopyOptions) error {
	if b.aside.desk.all.Ignored().Has(name) {
		if _, err := b.tree.Stat(ctx, path.Join(into.Path, name)); fault.Is(err, fault.NotFound) {
			return errors.Join(b.aside.to.ImportStream(ctx, r, into, name, o), b.aside.to.Keep(ctx))
		}
	}
	return b.tree.ImportStream(ctx, r, into, name, o)
}

func (b inBulk) copyIn(ctx context.Context, s *source, into files.Entry, name string, o files.CopyOptions) error {
	from, e := s.past, s.entry
	if from == nil {
		var err error
		from = s.from.tree
		if e, err = inTree(ctx, from, s); err != nil {
			return err
		}
	}
	switch {
	case from.Workspace().ID() != b.tree.Workspace().ID():
		return b.tree.CopyAcross(ctx, from, e, into, name, o)
	case name != "":
		return b.within(ctx, from, e, into, name, o)
	}
	children, err := from.List(ctx, e)
	if err != nil {
		return err
	}
	for _, below := range children {
		if err := b.within(ctx, from, below, into, below.Name(), o); err != nil {
			return err
		}
	}
	return nil
}

// within copies an entry within its workspace.
func (b inBulk) within(ctx context.Context, from *files.Tree, e, into files.Entry, name string, o files.CopyOptions) error {
	if from == b.tree {
		return b.tree.Copy(ctx, e, into, name, o)
	}
	return b.tree.CopyFrom(ctx, from, e, into, name, o)
}

// inLocal keeps a file at a time on this device.
type inLocal struct{ local *files.Local }

func (l inLocal) importAll(ctx context.Context, from []files.Source, into files.Entry, o files.CopyOptions) error {
	return l.local.Import(ctx, from, into, o)
}

func (l inLocal) importStream(ctx context.Context, r io.Reader, into files.Entry, name string, o files.CopyOptions) error {
	return l.local.ImportStream(ctx, r, into, name, o)
}

func (l inLocal) copyIn(ctx context.Context, s *source, into files.Entry, name string, o files.CopyOptions) error {
	if s.past != nil {
		return fault.WithHint(fault.Errorf(fault.Conflict, "%s a workspace with changes that are not sent: what was there earlier is copied by commits alone", s.describe()),
			"`parsec sync --wait` sends them")
	}
	return l.local.CopyIn(ctx, s.from.Local, s.entry, into, name, o)
}

func (j *copying) inOne(ctx context.Context, to in, t *shown, s *source, g goal) error {
	switch {
	case s.stream:
		return to.importStream(ctx, j.r.Console.Input(ctx), g.into, g.name, j.options())
	case s.local():
		return to.importAll(ctx, []files.Source{{Path: s.file, Name: g.name}}, g.into, j.options())
	case s.past == nil && s.from == t && path.Join(g.into.Path, g.name) == s.entry.Path && g.name != "":
		return fault.Errorf(fault.Usage, "%s %s: they are the same", s.describe(), j.to.text)
	}
	return to.copyIn(ctx, s, g.into, g.name, j.options())
}

// goal returns where a source goes.
func (j *copying) goal(ctx context.Context, t *files.Local, s *source) (goal, error) {
	there, err := t.Stat(ctx, j.to.path)
	switch {
	case err == nil && there.Kind == manifest.Folder:
		return j.goalInFolder(ctx, t, s, there)
	case err != nil && !fault.Is(err, fault.NotFound):
		return goal{}, err
	case len(j.sources) > 1:
		return goal{}, j.notAFolder()
	case err == nil && s.folder:
		return goal{}, fault.Errorf(fault.Conflict, "%s %s: a %s is there", s.describe(), j.to.text, there.Kind)
	case err != nil && !s.folder && strings.HasSuffix(j.to.path, "/"):
		return goal{}, fault.WithHint(err, "`parsec mkdir` makes the folder")
	}
	g := goal{}
	if g.into, g.name, err = t.Destination(ctx, j.to.path, s.name); err == nil && s.folder {
		g.mark = j.mark(s, path.Join(g.into.Path, g.name))
	}
	return g, err
}

// goalInFolder returns where a source goes whose destination is a folder.
func (j *copying) goalInFolder(ctx context.Context, t *files.Local, s *source, there files.Entry) (goal, error) {
	if s.stream {
		return goal{}, fault.WithHint(fault.Errorf(fault.Usage, "copy standard input to %s: it is a folder", j.to.text), "name the file in it")
	}
	into := goal{into: there, name: s.name}
	if s.contents {
		into.name = ""
		return into, nil
	}
	if !s.folder || len(j.sources) > 1 {
		return into, nil
	}
	m := j.mark(s, there.Path)
	begun, err := m.set(ctx, j.desk)
	if err != nil {
		return goal{}, err
	}
	if !begun && j.update && there.Name() == s.name {
		_, err := t.Stat(ctx, path.Join(there.Path, s.name))
		if err != nil && !fault.Is(err, fault.NotFound) {
			return goal{}, err
		}
		begun = err != nil
	}
	if begun {
		into.name, into.mark = "", m
	}
	return into, nil
}
