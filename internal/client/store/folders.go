package store

import (
	"context"

	"parsec/internal/base/id"
)

// PutFolder keeps what is to be known of a folder beside its children, in the
// caller's own encoding.
func (t *CacheTx) PutFolder(folder id.Entry, shape []byte) error {
	return t.tx.put(tableFolders, shape, t.workspace[:], folder[:])
}

// Folder returns what [CacheTx.PutFolder] kept of a folder, if anything.
func (c *Cache) Folder(ctx context.Context, w id.Workspace, folder id.Entry) (shape []byte, found bool, err error) {
	err = c.use(ctx, func(db *database) error {
		shape, found, err = reader{db, db, w}.Folder(folder)
		return err
	})
	return shape, found, err
}

// Folder is [Cache.Folder] with what the update has written.
func (r reader) Folder(folder id.Entry) (shape []byte, found bool, err error) {
	err = r.db.valuesIn(r.q, tableFolders, func(_ []any, plain []byte) error {
		shape, found = plain, true
		return nil
	}, "SELECT workspace, entry, value FROM folder WHERE workspace = ? AND entry = ?", r.workspace[:], folder[:])
	return shape, found, err
}

// PutFormer remembers, for people, the last place of entries that no folder
// names any more.
func (t *CacheTx) PutFormer(children ...Child) error {
	for _, c := range children {
		if err := t.tx.put(tableFormer, c.encode(), t.workspace[:], c.Entry[:]); err != nil {
			return err
		}
	}
	return nil
}

// Bury forgets the children of a folder that is gone, but for their former places.
func (t *CacheTx) Bury(folder id.Entry) error {
	in := t.folderKey(folder)
	children, err := t.find("SELECT folder, name, value FROM child WHERE workspace = ? AND folder = ?", t.workspace[:], in[:])
	if err != nil {
		return err
	}
	if err := t.PutFormer(children...); err != nil {
		return err
	}
	return t.ClearFolder(folder)
}

// Former returns the place of an entry that [CacheTx.PutFormer] remembered, if
// there is one.
func (c *Cache) Former(ctx context.Context, w id.Workspace, entry id.Entry) (child Child, found bool, err error) {
	err = c.use(ctx, func(db *database) error {
		return db.values(ctx, tableFormer, func(_ []any, plain []byte) (err error) {
			child, err = decodeChild(plain)
			found = err == nil
			return err
		}, "SELECT workspace, entry, value FROM former WHERE workspace = ? AND entry = ?", w[:], entry[:])
	})
	return child, found, err
}
