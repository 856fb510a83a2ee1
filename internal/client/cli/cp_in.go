package cli

import (
	"context"
	"path"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/files"
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
	t, err := j.desk.tree(ctx, j.to.workspace)
	if err != nil {
		return err
	}
	var together []files.Source
	var into files.Entry
	for _, s := range j.sources {
		g, err := j.goal(ctx, t, s)
		if err != nil {
			return err
		}
		if s.local() && len(j.sources) > 1 {
			together, into = append(together, files.Source{Path: s.file, Name: g.name}), g.into
			continue
		}
		if err := g.mark.around(ctx, j.desk, func() error { return j.inOne(ctx, t, s, g) }); err != nil {
			return err
		}
	}
	if len(together) == 0 {
		return nil
	}
	return t.ImportAll(ctx, together, into, j.options())
}

func (j *copying) inOne(ctx context.Context, t *files.Tree, s *source, g goal) error {
	switch {
	case s.stream:
		return t.ImportStream(ctx, j.r.Console.Input(ctx), g.into, g.name, j.options())
	case s.local():
		return t.ImportAll(ctx, []files.Source{{Path: s.file, Name: g.name}}, g.into, j.options())
	case s.tree.Workspace().ID() != t.Workspace().ID():
		return t.CopyAcross(ctx, s.tree, s.entry, g.into, g.name, j.options())
	case g.name == "":
		children, err := s.tree.List(ctx, s.entry)
		if err != nil {
			return err
		}
		for _, e := range children {
			if err := j.within(ctx, t, s, e, g.into, e.Name()); err != nil {
				return err
			}
		}
		return nil
	case s.tree == t && path.Join(g.into.Path, g.name) == s.entry.Path:
		return fault.Errorf(fault.Usage, "%s %s: they are the same", s.describe(), j.to.text)
	}
	return j.within(ctx, t, s, s.entry, g.into, g.name)
}

// within copies an entry of a source within its workspace.
func (j *copying) within(ctx context.Context, t *files.Tree, s *source, e, into files.Entry, name string) error {
	if s.tree == t {
		return t.Copy(ctx, e, into, name, j.options())
	}
	return t.CopyFrom(ctx, s.tree, e, into, name, j.options())
}

// goal returns where a source goes.
func (j *copying) goal(ctx context.Context, t *files.Tree, s *source) (goal, error) {
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
func (j *copying) goalInFolder(ctx context.Context, t *files.Tree, s *source, there files.Entry) (goal, error) {
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
