package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/store"
)

// out copies all sources to the local destination.
func (j *copying) out(ctx context.Context) error {
	for _, s := range j.sources {
		to, m, err := j.localGoal(ctx, s)
		if err != nil {
			return err
		}
		if special(to) && !s.folder {
			if err := j.stream(ctx, s, to); err != nil {
				return err
			}
			continue
		}
		err = m.around(ctx, j.desk, func() error { return j.export(ctx, s, to) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *copying) export(ctx context.Context, s *source, to string) error {
	if s.past != nil {
		return s.past.Export(ctx, s.entry, to, j.options())
	}
	return s.from.Export(ctx, s.entry, to, j.desk.offline != nil, j.options())
}

// special reports whether something is there that is written to and not
// replaced, as a device or a pipe.
func special(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// stream writes the content of a file to what is there.
func (j *copying) stream(ctx context.Context, s *source, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return fault.Errorf(fault.Failed, "%s %s: %w", s.describe(), j.to.text, inner(err))
	}
	return errors.Join(j.content(ctx, s, f), f.Close())
}

// localGoal returns the path of a source's copy.
func (j *copying) localGoal(ctx context.Context, s *source) (string, *mark, error) {
	to, err := j.r.Absolute(j.to.path)
	if err != nil {
		return "", nil, fault.Errorf(fault.Failed, "%s %s: %w", s.describe(), j.to.text, err)
	}
	info, err := os.Stat(to)
	m := j.mark(s, to)
	switch {
	case err == nil && info.IsDir():
		return j.localGoalInFolder(ctx, s, to, m)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", nil, fault.Errorf(fault.Failed, "%s %s: %w", s.describe(), j.to.text, inner(err))
	case len(j.sources) > 1:
		return "", nil, j.notAFolder()
	case err == nil && s.folder:
		return "", nil, fault.Errorf(fault.Conflict, "%s %s: something else than a folder is there", s.describe(), j.to.text)
	case err != nil && !s.folder && strings.HasSuffix(filepath.ToSlash(j.to.path), "/"):
		return "", nil, fault.Errorf(fault.NotFound, "%s %s: there is no such folder", s.describe(), j.to.text)
	}
	if !s.folder {
		m = nil
	}
	return to, m, nil
}

// localGoalInFolder returns the path of a source's copy where the destination
// is a folder.
func (j *copying) localGoalInFolder(ctx context.Context, s *source, to string, m *mark) (string, *mark, error) {
	within := filepath.Join(to, s.name)
	if !s.folder || len(j.sources) > 1 && !s.contents {
		return within, nil, nil
	}
	itself, err := m.set(ctx, j.desk)
	if err != nil {
		return "", nil, err
	}
	if !s.contents && !itself {
		m = nil
		if _, err := os.Lstat(within); j.update && filepath.Base(to) == s.name && errors.Is(err, fs.ErrNotExist) {
			itself = true
		}
	}
	if !s.contents && !itself {
		return within, nil, nil
	}
	if to, err = filepath.EvalSymlinks(to); err != nil {
		return "", nil, fault.Errorf(fault.Failed, "%s %s: %w", s.describe(), j.to.text, inner(err))
	}
	return to, m, nil
}

// mark remembers in the local state that a destination is being made as the
// copy of one folder. Where that breaks off, the same command goes on there,
// instead of copying into what looks like any folder.
type mark struct{ name string }

// mark returns the mark of a source and its destination.
func (j *copying) mark(s *source, to string) *mark {
	from := s.file
	if absolute, err := filepath.Abs(s.file); s.local() && err == nil {
		from = absolute
	}
	if s.remote() {
		from = s.from.sync.ID().String() + ":" + s.entry.Path
		if j.at.given() {
			from += "\x00" + j.at.text
		}
	}
	sum := sha256.Sum256([]byte(from + "\x00" + j.to.workspace + "\x00" + to))
	return &mark{"copy " + hex.EncodeToString(sum[:])}
}

// set reports whether the mark is there.
func (m *mark) set(ctx context.Context, d *desk) (bool, error) {
	_, found, err := d.agent.Held().Local().State.Progress(ctx, m.name)
	return found, err
}

// around sets the mark while a copy is made, and takes it away when that is
// done. Without a mark it only makes the copy.
func (m *mark) around(ctx context.Context, d *desk, make func() error) error {
	if m == nil {
		return make()
	}
	state := d.agent.Held().Local().State
	err := state.Update(ctx, func(tx *store.StateTx) error { return tx.PutProgress(m.name, []byte{1}) })
	if err != nil {
		return err
	}
	if err := make(); err != nil {
		return err
	}
	return state.Update(ctx, func(tx *store.StateTx) error { return tx.DropProgress(m.name) })
}
