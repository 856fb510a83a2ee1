package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// Version is one version of an entry, as a verified commit names it.
type Version struct {
	Entry id.Entry
	// Number counts from 1; 0 stands for an entry that has no version.
	Number uint64
	// Base is the version of the snapshot that this one builds on: its own
	// number for a snapshot and for an entry that is gone.
	Base uint64
	// Generation is that of the workspace key under which it is sealed.
	Generation uint64
	// Index is the commit's place in the workspace log.
	Index uint64
	// Author is the commit's author.
	Author id.Device
	// Digest is the SHA-256 of the sealed manifest; zero for an entry that is gone.
	Digest record.Digest
	// Gone says that the entry is removed as of this version.
	Gone bool
	// Manifest is the sealed manifest as transmitted; nil while it is not
	// there, and where a method says that it leaves it out.
	Manifest []byte
}

// factsSize is the length of what a row says of its version.
const factsSize = 3*8 + id.Size + 32 + 1

func (v Version) facts() []byte {
	b := make([]byte, 0, factsSize)
	b = binary.BigEndian.AppendUint64(b, v.Base)
	b = binary.BigEndian.AppendUint64(b, v.Generation)
	b = binary.BigEndian.AppendUint64(b, v.Index)
	b = append(b, v.Author[:]...)
	b = append(b, v.Digest[:]...)
	if v.Gone {
		return append(b, 1)
	}
	return append(b, 0)
}

func (v *Version) setFacts(b []byte) error {
	if len(b) != factsSize {
		return fmt.Errorf("%d bytes of facts: %w", len(b), errForeign)
	}
	v.Base = binary.BigEndian.Uint64(b)
	v.Generation = binary.BigEndian.Uint64(b[8:])
	v.Index = binary.BigEndian.Uint64(b[16:])
	b = b[24:]
	copy(v.Author[:], b)
	copy(v.Digest[:], b[id.Size:])
	v.Gone = b[factsSize-24-1] == 1
	return nil
}

func versionKey(w id.Workspace, e id.Entry, number uint64) []byte {
	key := make([]byte, 0, 2*id.Size+8)
	key = append(append(key, w[:]...), e[:]...)
	return binary.BigEndian.AppendUint64(key, number)
}

// PutVersions stores versions, in place of the same ones, and forgets those
// that precede the snapshot they build on: only the live chain of an entry
// stays, which for a file is one row.
func (t *CacheTx) PutVersions(versions ...Version) error {
	for _, v := range versions {
		key := versionKey(t.workspace, v.Entry, v.Number)
		facts := t.db.vault.seal(tableEntries, key, v.facts())
		var manifest []byte
		if v.Manifest != nil {
			manifest = t.db.vault.seal(tableManifests, key, v.Manifest)
		}
		err := t.tx.exec("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)", t.workspace[:], v.Entry[:], v.Number, facts, manifest)
		if err == nil && v.Base > 1 {
			err = t.tx.exec("DELETE FROM entry WHERE workspace = ? AND entry = ? AND number < ?", t.workspace[:], v.Entry[:], v.Base)
		}
		if err != nil {
			return t.db.fail("write versions", err)
		}
	}
	return nil
}

// Newest returns the newest version of each entry, without its manifest, in
// the order asked for. An entry that the cache does not know has number 0.
func (c *Cache) Newest(ctx context.Context, w id.Workspace, entries []id.Entry) (versions []Version, err error) {
	err = c.use(ctx, func(db *database) error {
		versions, err = reader{db, db, w}.Newest(entries)
		return err
	})
	return versions, err
}

// Chains returns the live chain of each entry, oldest version first, in the
// order asked for. The chain of an entry that the cache does not know is empty.
func (c *Cache) Chains(ctx context.Context, w id.Workspace, entries []id.Entry) (chains [][]Version, err error) {
	err = c.use(ctx, func(db *database) error {
		chains, err = reader{db, db, w}.Chains(entries)
		return err
	})
	return chains, err
}

// versionsAtOnce bounds a page of [Cache.Entries].
const versionsAtOnce = 512

// Entries returns the newest version of every entry, those that are gone
// included, without manifests, by ascending id.
func (c *Cache) Entries(ctx context.Context, w id.Workspace) iter.Seq2[Version, error] {
	return pages(func(last *Version) (page []Version, err error) {
		var after id.Entry
		if last != nil {
			after = last.Entry
		}
		err = c.use(ctx, func(db *database) error {
			page, err = reader{db, db, w}.entries(after)
			return err
		})
		return page, err
	})
}

// reader reads one workspace of the cache, inside or outside an update.
type reader struct {
	db        *database
	q         querier
	workspace id.Workspace
}

func (r reader) entries(after id.Entry) ([]Version, error) {
	var page []Version
	err := each(r.q, func(rows *sql.Rows) error {
		v, err := r.scan(rows, false)
		page = append(page, v)
		return err
	}, `SELECT entry, max(number), facts FROM entry WHERE workspace = ? AND entry > ? GROUP BY entry ORDER BY entry LIMIT ?`,
		r.workspace[:], after[:], versionsAtOnce)
	return page, r.db.fail("read versions", err)
}

// Newest is [Cache.Newest] with what the update has written.
func (r reader) Newest(entries []id.Entry) ([]Version, error) {
	found := make(map[id.Entry]Version, len(entries))
	err := r.lookUp(entries, false, `SELECT e.entry, e.number, e.facts FROM wanted CROSS JOIN entry e ON e.workspace = ?1 AND e.entry = wanted.column1
		AND e.number = (SELECT max(number) FROM entry WHERE workspace = ?1 AND entry = wanted.column1)`,
		func(v Version) { found[v.Entry] = v })
	if err != nil {
		return nil, err
	}
	versions := make([]Version, len(entries))
	for i, e := range entries {
		versions[i] = found[e]
		versions[i].Entry = e
	}
	return versions, nil
}

// Chains is [Cache.Chains] with what the update has written.
func (r reader) Chains(entries []id.Entry) ([][]Version, error) {
	found := make(map[id.Entry][]Version, len(entries))
	err := r.lookUp(entries, true, `SELECT e.entry, e.number, e.facts, e.manifest FROM wanted CROSS JOIN entry e
		ON e.workspace = ?1 AND e.entry = wanted.column1 ORDER BY e.entry, e.number`,
		func(v Version) { found[v.Entry] = append(found[v.Entry], v) })
	if err != nil {
		return nil, err
	}
	chains := make([][]Version, len(entries))
	for i, e := range entries {
		chains[i] = found[e]
	}
	return chains, nil
}

// lookUp runs a query over the table `wanted` of entries. It asks for many at
// once, in few sizes, so that few statements are prepared.
func (r reader) lookUp(entries []id.Entry, manifests bool, query string, visit func(Version)) error {
	wanted := slices.Clone(entries)
	slices.SortFunc(wanted, func(a, b id.Entry) int { return slices.Compare(a[:], b[:]) })
	wanted = slices.Compact(wanted)
	for _, size := range []int{128, 16, 1} {
		values := strings.TrimSuffix(strings.Repeat("(?), ", size), ", ")
		for len(wanted) >= size {
			args := []any{r.workspace[:]}
			for _, e := range wanted[:size] {
				args = append(args, e[:])
			}
			err := each(r.q, func(rows *sql.Rows) error {
				v, err := r.scan(rows, manifests)
				visit(v)
				return err
			}, "WITH wanted AS (SELECT NULL AS column1 WHERE ?1 IS NULL UNION ALL VALUES "+values+") "+query, args...)
			if err != nil {
				return r.db.fail("read versions", err)
			}
			wanted = wanted[size:]
		}
	}
	return nil
}

// scan reads entry, number, facts and, if asked, manifest.
func (r reader) scan(rows *sql.Rows, manifests bool) (Version, error) {
	var v Version
	var entry, facts, manifest sql.RawBytes
	dest := []any{&entry, &v.Number, &facts, &manifest}
	if !manifests {
		dest = dest[:3]
	}
	if err := rows.Scan(dest...); err != nil {
		return v, err
	}
	copy(v.Entry[:], entry)
	key := versionKey(r.workspace, v.Entry, v.Number)
	plain, err := r.db.vault.open(tableEntries, key, facts)
	if err != nil {
		return v, err
	}
	if manifest != nil {
		if v.Manifest, err = r.db.vault.open(tableManifests, key, manifest); err != nil {
			return v, err
		}
	}
	return v, v.setFacts(plain)
}
