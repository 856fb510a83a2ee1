package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/manifest"
)

// Child is an entry under its name in a folder.
type Child struct {
	Folder id.Entry
	Name   string
	Entry  id.Entry
	Kind   manifest.Kind
}

// What stands for folders, names and entries in the keys of children.
const (
	hiddenFolder table = "child/folder"
	hiddenName   table = "child/name"
	hiddenEntry  table = "child/entry"
)

func (c Child) encode() []byte {
	b := make([]byte, 0, 1+2*id.Size+len(c.Name))
	b = append(b, byte(c.Kind))
	b = append(b, c.Entry[:]...)
	b = append(b, c.Folder[:]...)
	return append(b, c.Name...)
}

func decodeChild(b []byte) (Child, error) {
	var c Child
	if len(b) <= 1+2*id.Size {
		return c, fmt.Errorf("a child of %d bytes: %w", len(b), errForeign)
	}
	c.Kind = manifest.Kind(b[0])
	copy(c.Entry[:], b[1:])
	copy(c.Folder[:], b[1+id.Size:])
	c.Name = string(b[1+2*id.Size:])
	return c, nil
}

func (r reader) folderKey(folder id.Entry) [macSize]byte {
	return r.db.vault.hide(hiddenFolder, r.workspace[:], folder[:])
}

func (r reader) nameKey(folder id.Entry, name string) [macSize]byte {
	return r.db.vault.hide(hiddenName, r.workspace[:], folder[:], []byte(name))
}

func (r reader) entryKey(entry id.Entry) [macSize]byte {
	return r.db.vault.hide(hiddenEntry, r.workspace[:], entry[:])
}

func (r reader) childKey(folder, name []byte) []byte {
	return slices.Concat(r.workspace[:], folder, name)
}

// PutChildren stores children, each in place of the one with its folder and name.
func (t *CacheTx) PutChildren(children ...Child) error {
	var of id.Entry
	var folder [macSize]byte
	var put [][macSize]byte
	for _, c := range children {
		if c.Folder != of {
			of, folder = c.Folder, t.folderKey(c.Folder)
		}
		name, entry := t.nameKey(c.Folder, c.Name), t.entryKey(c.Entry)
		sealed := t.db.vault.seal(tableChildren, t.childKey(folder[:], name[:]), c.encode())
		err := t.tx.exec("INSERT OR REPLACE INTO child VALUES (?, ?, ?, ?, ?)", t.workspace[:], folder[:], name[:], entry[:], sealed)
		if err != nil {
			return t.db.fail("write children", err)
		}
		put = append(put, entry)
	}
	return t.db.fail("write children", t.noteCrowded(put))
}

// noteCrowded notes which of these entries stand under more than one folder or
// name, so that nobody has to look for them among all.
func (t *CacheTx) noteCrowded(entries [][macSize]byte) error {
	for _, size := range []int{128, 16, 1} {
		query := `INSERT OR IGNORE INTO crowded SELECT ?1, column1 FROM (VALUES ` + strings.TrimSuffix(strings.Repeat("(?), ", size), ", ") + `)
			WHERE (SELECT count(*) FROM child INDEXED BY child_entry WHERE workspace = ?1 AND entry = column1) > 1`
		for len(entries) >= size {
			args := []any{t.workspace[:]}
			for i := range entries[:size] {
				args = append(args, entries[i][:])
			}
			if err := t.tx.exec(query, args...); err != nil {
				return err
			}
			entries = entries[size:]
		}
	}
	return nil
}

// RemoveChildren forgets the children of a folder with these names, as far as
// they are there.
func (t *CacheTx) RemoveChildren(folder id.Entry, names ...string) error {
	in := t.folderKey(folder)
	for _, n := range names {
		name := t.nameKey(folder, n)
		err := t.tx.exec("DELETE FROM child WHERE workspace = ? AND folder = ? AND name = ?", t.workspace[:], in[:], name[:])
		if err != nil {
			return t.db.fail("remove children", err)
		}
	}
	return nil
}

// ClearFolder forgets all children of a folder.
func (t *CacheTx) ClearFolder(folder id.Entry) error {
	in := t.folderKey(folder)
	return t.db.fail("clear folder", t.tx.exec("DELETE FROM child WHERE workspace = ? AND folder = ?", t.workspace[:], in[:]))
}

// Child returns the child of a folder with this name, if there is one.
func (c *Cache) Child(ctx context.Context, w id.Workspace, folder id.Entry, name string) (child Child, found bool, err error) {
	err = c.use(ctx, func(db *database) error {
		child, found, err = reader{db, db, w}.Child(folder, name)
		return err
	})
	return child, found, err
}

// childrenAtOnce bounds a page of [Cache.Children].
const childrenAtOnce = 512

// Children returns the children of a folder behind the name after, which need
// not exist; "" stands for the start. Their order is stable and says nothing
// of their names. Each child that is there all the while comes exactly once.
func (c *Cache) Children(ctx context.Context, w id.Workspace, folder id.Entry, after string) iter.Seq2[Child, error] {
	return pages(func(last *Child) (page []Child, err error) {
		from := after
		if last != nil {
			from = last.Name
		}
		err = c.use(ctx, func(db *database) error {
			page, err = reader{db, db, w}.children(folder, from)
			return err
		})
		return page, err
	})
}

// Places returns all folders and names under which an entry stands; more than
// one is a mistake of some author.
func (c *Cache) Places(ctx context.Context, w id.Workspace, entry id.Entry) (places []Child, err error) {
	err = c.use(ctx, func(db *database) error {
		places, err = reader{db, db, w}.Places(entry)
		return err
	})
	return places, err
}

// Crowded returns the entries that stand under more than one folder or name, and
// whether some were noted that do not any more; see [CacheTx.Uncrowd]. It looks at
// those that were noted, not at the workspace.
func (c *Cache) Crowded(ctx context.Context, w id.Workspace) (crowded []id.Entry, stale bool, err error) {
	err = c.use(ctx, func(db *database) error {
		found, err := reader{db, db, w}.find(`SELECT folder, name, value FROM crowded CROSS JOIN child INDEXED BY child_entry USING (workspace, entry)
			WHERE workspace = ?`, w[:])
		times := map[id.Entry]int{}
		for _, child := range found {
			if times[child.Entry]++; times[child.Entry] == 2 {
				crowded = append(crowded, child.Entry)
			}
		}
		if err != nil {
			return err
		}
		noted, err := number(db, "SELECT count(*) FROM crowded WHERE workspace = ?", w[:])
		stale = noted > uint64(len(crowded))
		return db.fail("read children", err)
	})
	return crowded, stale, err
}

// Uncrowd forgets the notes of entries that stand under one name or none by now.
func (t *CacheTx) Uncrowd() error {
	return t.db.fail("write children", t.tx.exec(`DELETE FROM crowded WHERE workspace = ?1
		AND (SELECT count(*) FROM child INDEXED BY child_entry WHERE workspace = ?1 AND child.entry = crowded.entry) < 2`, t.workspace[:]))
}

// More reports whether the cache knows more than so many versions of entries. It
// reads no more than that.
func (c *Cache) More(ctx context.Context, w id.Workspace, than int) (more bool, err error) {
	err = c.use(ctx, func(db *database) error {
		err := each(db, func(*sql.Rows) error { more = true; return nil },
			"SELECT 1 FROM entry WHERE workspace = ? AND entry > x'' LIMIT 1 OFFSET ?", w[:], than)
		return db.fail("count versions", err)
	})
	return more, err
}

// Child is [Cache.Child] with what the update has written.
func (r reader) Child(folder id.Entry, name string) (Child, bool, error) {
	in, called := r.folderKey(folder), r.nameKey(folder, name)
	found, err := r.find("SELECT folder, name, value FROM child WHERE workspace = ? AND folder = ? AND name = ?",
		r.workspace[:], in[:], called[:])
	if err != nil || len(found) == 0 {
		return Child{}, false, err
	}
	return found[0], true, nil
}

// Places is [Cache.Places] with what the update has written.
func (r reader) Places(entry id.Entry) ([]Child, error) {
	key := r.entryKey(entry)
	// Left alone, SQLite reads the whole workspace to save itself the sorting.
	found, err := r.find(`SELECT folder, name, value FROM child INDEXED BY child_entry WHERE workspace = ? AND entry = ?
		ORDER BY folder, name`, r.workspace[:], key[:])
	for _, c := range found {
		if c.Entry != entry {
			return nil, r.db.fail("read children", errForeign)
		}
	}
	return found, err
}

// children returns one page.
func (r reader) children(folder id.Entry, after string) ([]Child, error) {
	in := r.folderKey(folder)
	var from []byte
	if after != "" {
		key := r.nameKey(folder, after)
		from = key[:]
	} else {
		from = []byte{}
	}
	return r.find("SELECT folder, name, value FROM child WHERE workspace = ? AND folder = ? AND name > ? ORDER BY name LIMIT ?",
		r.workspace[:], in[:], from, childrenAtOnce)
}

func (r reader) find(query string, args ...any) ([]Child, error) {
	var found []Child
	err := each(r.q, func(rows *sql.Rows) error {
		var folder, name, sealed sql.RawBytes
		if err := rows.Scan(&folder, &name, &sealed); err != nil {
			return err
		}
		plain, err := r.db.vault.open(tableChildren, r.childKey(folder, name), sealed)
		if err != nil {
			return err
		}
		c, err := decodeChild(plain)
		found = append(found, c)
		return err
	}, query, args...)
	return found, r.db.fail("read children", err)
}

// Problem is an entry whose validly signed content cannot be shown.
type Problem struct {
	_     struct{} `cbor:",toarray"`
	Entry id.Entry
	// Author is who signed it.
	Author id.Device
	// Reason tells a person what is wrong with it.
	Reason string
}

// PutProblems remembers problems, one for each entry.
func (t *CacheTx) PutProblems(problems ...Problem) error {
	for _, p := range problems {
		if err := t.tx.put(tableProblems, canon.Marshal(p), t.workspace[:], p.Entry[:]); err != nil {
			return err
		}
	}
	return nil
}

// SolveProblems forgets the problems of entries, as far as there are any.
func (t *CacheTx) SolveProblems(entries ...id.Entry) error {
	for _, e := range entries {
		if err := t.tx.exec("DELETE FROM problem WHERE workspace = ? AND entry = ?", t.workspace[:], e[:]); err != nil {
			return t.db.fail("solve problems", err)
		}
	}
	return nil
}

// Problems returns the problems of a workspace, by ascending entry.
func (c *Cache) Problems(ctx context.Context, w id.Workspace) (problems []Problem, err error) {
	err = c.use(ctx, func(db *database) error {
		problems, err = all[Problem](ctx, db, tableProblems,
			"SELECT workspace, entry, value FROM problem WHERE workspace = ? ORDER BY entry", w[:])
		return err
	})
	return problems, err
}
