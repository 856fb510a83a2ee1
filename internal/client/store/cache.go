package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// The kinds of values in the cache.
const (
	tableMarks     table = "mark"
	tableEntries   table = "entry"
	tableManifests table = "entry/manifest"
	tableChildren  table = "child"
	tableFolders   table = "folder"
	tableFormer    table = "former"
	tableProblems  table = "problem"
)

// tableCrowded has no values: which entries stand more than once.
const tableCrowded table = "crowded"

// The rows of entries stand in the order of their writing, beside an index:
// their ids are random, so that a table sorted by id would write a page anew
// for nearly every row. What a row says of its version stands apart from the
// sealed manifest, which may be large and is seldom wanted.
const cacheSchema = `
CREATE TABLE header (salt BLOB NOT NULL, proof BLOB NOT NULL) STRICT;
CREATE TABLE mark (workspace BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE entry (workspace BLOB, entry BLOB, number INTEGER, facts BLOB NOT NULL, manifest BLOB,
	UNIQUE (workspace, entry, number)) STRICT;
CREATE TABLE child (workspace BLOB, folder BLOB, name BLOB, entry BLOB NOT NULL, value BLOB NOT NULL,
	PRIMARY KEY (workspace, folder, name)) STRICT, WITHOUT ROWID;
CREATE INDEX child_entry ON child (workspace, entry);
CREATE TABLE crowded (workspace BLOB, entry BLOB, PRIMARY KEY (workspace, entry)) STRICT, WITHOUT ROWID;
CREATE TABLE folder (workspace BLOB, entry BLOB, value BLOB NOT NULL, PRIMARY KEY (workspace, entry)) STRICT;
CREATE TABLE former (workspace BLOB, entry BLOB, value BLOB NOT NULL, PRIMARY KEY (workspace, entry)) STRICT;
CREATE TABLE problem (workspace BLOB, entry BLOB, value BLOB NOT NULL, PRIMARY KEY (workspace, entry)) STRICT`

func cacheSettings(dir string) settings {
	return settings{
		path:        filepath.Join(dir, cacheFile),
		schema:      cacheSchema,
		layout:      2,
		tables:      []table{tableHeader, tableMarks, tableEntries, tableManifests, tableChildren, tableFolders, tableFormer, tableProblems},
		synchronous: "NORMAL",
		hint:        "run the command again: the cache is thrown away and rebuilt from the server",
	}
}

// Cache is what follows from the verified logs and can be rebuilt. A crash of
// the machine may take its newest updates, never a part of one.
//
// Once it is found damaged, every method fails until [Cache.Reset] or until
// the store is opened again, so that no answer comes from half a cache.
type Cache struct {
	dir    string
	device id.Device
	key    secret.Key
	// replacing is held, exclusively, while Reset exchanges db.
	replacing sync.RWMutex
	db        *database
	damaged   atomic.Bool
	resets    atomic.Uint64
}

// Mark says what the cache reflects of a workspace.
type Mark struct {
	_ struct{} `cbor:",toarray"`
	// Position is the place in the log up to which every version is known.
	Position record.Position
	// Manifests is the index up to which every live manifest is there, but for the
	// Rest.
	Manifests uint64
	// Cursor is where the stream of the manifests behind that index stands.
	Cursor []byte
	// Contested are the entries that are named more than once, by ascending id.
	Contested []Contested
	// Rest is what is fetched little by little.
	Rest Rest
}

// Rest are the manifests of a very large workspace that are not there because
// nobody has asked for them yet: none, if it is the zero Rest.
type Rest struct {
	_ struct{} `cbor:",toarray"`
	// Until is the index up to which, and Since that behind which, they are.
	Until, Since uint64
	// Cursor is where the stream of them stands.
	Cursor []byte
}

// Contested is an entry that is named more than once, by a mistake of some
// author, and the one name that counts; none where Folder is zero.
type Contested struct {
	_      struct{} `cbor:",toarray"`
	Entry  id.Entry
	Folder id.Entry
	Name   string
}

// openCache opens the cache, or makes it anew where it cannot be used.
func openCache(ctx context.Context, dir string, device id.Device, key secret.Key) (*Cache, error) {
	c := &Cache{dir: dir, device: device, key: key}
	var err error
	c.db, err = openDatabase(ctx, cacheSettings(dir), device, key)
	if err == nil || !IsDamaged(err) && !fault.Is(err, fault.Upgrade) {
		return c, err
	}
	return c, c.replace(ctx)
}

// replace makes an empty cache in place of the closed one.
func (c *Cache) replace(ctx context.Context) error {
	s := cacheSettings(c.dir)
	if err := s.remove(); err != nil {
		return err
	}
	db, err := createDatabase(ctx, s, c.device, c.key)
	if err != nil {
		return err
	}
	c.db = db
	c.damaged.Store(false)
	return nil
}

func (s settings) remove() error {
	for _, path := range s.files() {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", s.name(), err)
		}
	}
	return nil
}

// Resets counts the calls of [Cache.Reset].
func (c *Cache) Resets() uint64 { return c.resets.Load() }

// Damaged reports whether the cache was found damaged.
func (c *Cache) Damaged() bool { return c.damaged.Load() }

// Reset throws the cache away and starts an empty one. It waits for the calls
// in flight. Whoever calls it must begin anew with what it read before.
func (c *Cache) Reset(ctx context.Context) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	c.damaged.Store(true) // until the new one stands
	c.resets.Add(1)
	return errors.Join(c.db.close(), c.replace(ctx))
}

func (c *Cache) close() error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	err := c.db.close()
	if c.damaged.Load() {
		err = errors.Join(err, c.db.remove())
	}
	return err
}

// use runs fn on the database and notes damage.
func (c *Cache) use(ctx context.Context, fn func(*database) error) error {
	c.replacing.RLock()
	defer c.replacing.RUnlock()
	if c.damaged.Load() {
		return damaged(c.db.settings, errors.New("it was found so before"))
	}
	if err := ctx.Err(); err != nil {
		return c.db.fail("read", err)
	}
	err := fn(c.db)
	if c.db.isDamagedBy(err) {
		c.damaged.Store(true)
	}
	return err
}

// CacheTx is one update of what is cached of one workspace. Its reading
// methods see what it has written. It serves one goroutine.
type CacheTx struct {
	reader
	tx *tx
}

// Update applies all that apply does or nothing, where it returns an error.
// Updates wait for each other: apply must not call Update, and reads through
// its argument, not through the cache.
func (c *Cache) Update(ctx context.Context, w id.Workspace, apply func(*CacheTx) error) error {
	return c.use(ctx, func(db *database) error {
		return db.update(ctx, func(t *tx) error {
			return apply(&CacheTx{reader{db, t, w}, t})
		})
	})
}

// PutMark sets what the cache reflects of the workspace.
func (t *CacheTx) PutMark(m Mark) error {
	return t.tx.put(tableMarks, canon.Marshal(m), t.workspace[:])
}

// Mark returns what the cache reflects of a workspace: nothing, if it is the
// zero Mark.
func (c *Cache) Mark(ctx context.Context, w id.Workspace) (m Mark, err error) {
	err = c.use(ctx, func(db *database) error {
		m, err = reader{db, db, w}.Mark()
		return err
	})
	return m, err
}

// Mark is [Cache.Mark] with what the update has written.
func (r reader) Mark() (m Mark, err error) {
	err = r.db.valuesIn(r.q, tableMarks, func(_ []any, plain []byte) error {
		return canon.Unmarshal(plain, &m)
	}, "SELECT workspace, value FROM mark WHERE workspace = ?", r.workspace[:])
	return m, err
}

func (c *Cache) marks(ctx context.Context) (map[id.Workspace]Mark, error) {
	marks := make(map[id.Workspace]Mark)
	err := c.use(ctx, func(db *database) error {
		return db.values(ctx, tableMarks, func(key []any, plain []byte) error {
			var m Mark
			err := canon.Unmarshal(plain, &m)
			marks[id.Workspace(key[0].([]byte))] = m
			return err
		}, "SELECT workspace, value FROM mark")
	})
	return marks, err
}

// Drop forgets all that is cached of a workspace.
func (c *Cache) Drop(ctx context.Context, w id.Workspace) error {
	return c.Update(ctx, w, func(t *CacheTx) error {
		for _, name := range []table{tableMarks, tableEntries, tableChildren, tableCrowded, tableFolders, tableFormer, tableProblems} {
			if err := t.tx.exec("DELETE FROM "+string(name)+" WHERE workspace = ?", w[:]); err != nil {
				return t.db.fail("drop workspace", err)
			}
		}
		return nil
	})
}
