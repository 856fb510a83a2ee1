package sqlite

import (
	"database/sql"
	"fmt"
	"math"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type entries struct{ *conn }

func (c entries) Versions(w meta.WorkspaceKey, entries []id.Entry) ([]meta.Version, error) {
	found := make([]meta.Version, len(entries))
	for i := range entries {
		v := &found[i]
		if _, err := c.any("find entries", `SELECT version, base, idx FROM entries WHERE organization = ? AND workspace = ? AND id = ?`,
			[]any{w.Organization, w.Number, entries[i][:]}, &v.Number, &v.Base, &v.Index); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (c entries) Put(w meta.WorkspaceKey, index uint64, changes []meta.Change) error {
	manifests, size := 0, 0
	for i := range changes {
		if err := c.put(w, index, &changes[i]); err != nil {
			return err
		}
		if changes[i].Base > 0 {
			manifests++
			size += len(changes[i].Sealed)
		}
	}
	if manifests == 0 {
		return nil
	}
	return c.change("put entries", `UPDATE organizations SET manifests = manifests + ?, manifest_bytes = manifest_bytes + ? WHERE key = ?`,
		manifests, size, w.Organization)
}

func (c entries) put(w meta.WorkspaceKey, index uint64, change *meta.Change) (err error) {
	const what = "put entries"
	manifest := int64(0)
	if change.Base > 0 {
		manifest, err = c.insert(what, `
			INSERT INTO manifests (organization, workspace, entry, version, idx, sealed, previous) VALUES (?1, ?2, ?3, ?4, ?5, ?6,
				coalesce((SELECT manifest FROM entries WHERE organization = ?1 AND workspace = ?2 AND id = ?3), 0))`,
			w.Organization, w.Number, change.Entry[:], change.Number, index, blob(change.Sealed))
		if err != nil {
			return err
		}
	}
	n, err := c.exec(what, `
		INSERT INTO entries (organization, workspace, id, version, base, idx, manifest) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET version = excluded.version, base = excluded.base, idx = excluded.idx,
			manifest = iif(excluded.manifest = 0, manifest, excluded.manifest)
		WHERE version < excluded.version`,
		w.Organization, w.Number, change.Entry[:], change.Number, change.Base, index, manifest)
	if err == nil && n == 0 {
		return c.lose(what, fault.Errorf(fault.Conflict, "version %d of entry %s is there already", change.Number, change.Entry))
	}
	return err
}

func (c entries) Chains(w meta.WorkspaceKey, entries []id.Entry, maxBytes int) (found []meta.Chain, err error) {
	size := 0
	for i := range entries {
		var e newest
		live, err := c.any("read entries", selectNewest+`WHERE organization = ? AND workspace = ? AND id = ? AND base > 0`,
			[]any{w.Organization, w.Number, entries[i][:]}, e.scan()...)
		if err != nil {
			return nil, err
		}
		var chain meta.Chain
		if live {
			if chain, err = c.chain(e, 0); err != nil {
				return nil, err
			}
		}
		if size += chainSize(chain); size > maxBytes && len(found) > 0 {
			break
		}
		found = append(found, chain)
	}
	return found, nil
}

func (c entries) Spans(w meta.WorkspaceKey, spans []meta.Span, maxBytes int) (found []meta.Chain, err error) {
	size := 0
	for _, span := range spans {
		chain, err := c.span(w, span)
		if err != nil {
			return nil, err
		}
		if size += chainSize(chain); size > maxBytes && len(found) > 0 {
			break
		}
		found = append(found, chain)
	}
	return found, nil
}

// span reads versions of an entry, on the way from its newest back.
func (c entries) span(w meta.WorkspaceKey, span meta.Span) (chain meta.Chain, err error) {
	const what = "read versions"
	var number int64
	if _, err := c.any(what, `SELECT manifest FROM entries WHERE organization = ? AND workspace = ? AND id = ?`,
		[]any{w.Organization, w.Number, span.Entry[:]}, &number); err != nil {
		return chain, err
	}
	for version := uint64(math.MaxUint64); number != 0 && version > span.First; {
		at, query := number, `SELECT version, previous FROM manifests WHERE number = ?`
		found, err := c.any(what, query, []any{at}, &version, &number)
		if err == nil && !found {
			err = c.lose(what, fmt.Errorf("the versions of entry %s are broken before version %d", span.Entry, version))
		}
		if err != nil {
			return chain, err
		}
		if version > span.Last || version < span.First {
			continue
		}
		m := meta.Manifest{Number: version}
		if _, err := c.any(what, `SELECT sealed FROM manifests WHERE number = ?`, []any{at}, &m.Sealed); err != nil {
			return chain, err
		}
		chain.Manifests = append(chain.Manifests, m)
	}
	if uint64(len(chain.Manifests)) != span.Last-span.First+1 {
		return meta.Chain{}, nil
	}
	slices.Reverse(chain.Manifests)
	chain.Entry = span.Entry
	return chain, nil
}

func (c entries) Changed(w meta.WorkspaceKey, since uint64, after meta.Cursor, maxBytes int) (found []meta.Chain, err error) {
	// No entry has the zero id, so one comparison finds where to go on.
	from := after
	if since >= after.Index {
		from = meta.Cursor{Index: since + 1}
	}
	size := 0
	err = c.each("read entries", selectNewest+`
		WHERE organization = ? AND workspace = ? AND base > 0 AND (idx, id) > (?, ?) ORDER BY idx, id`,
		[]any{w.Organization, w.Number, from.Index, from.Entry[:]},
		func(rows *sql.Rows) (bool, error) {
			var e newest
			if err := rows.Scan(e.scan()...); err != nil {
				return false, err
			}
			chain, err := c.chain(e, since)
			if err != nil {
				return false, err
			}
			if size += chainSize(chain); size > maxBytes && len(found) > 0 {
				return false, nil
			}
			found = append(found, chain)
			return true, nil
		})
	return found, err
}

// newest is where the chain of a live entry begins to be read.
type newest struct {
	entry    id.Entry
	base     uint64
	index    uint64
	manifest int64
}

const selectNewest = `SELECT id, base, idx, manifest FROM entries `

func (e *newest) scan() []any { return []any{into(e.entry[:]), &e.base, &e.index, &e.manifest} }

// chain reads the versions of an entry from its newest back to its base, as
// far as they came behind an index.
func (c entries) chain(e newest, since uint64) (meta.Chain, error) {
	chain := meta.Chain{Entry: e.entry, Index: e.index, Manifests: make([]meta.Manifest, 0, 1)}
	for number, version := e.manifest, uint64(0); version != e.base; {
		var m meta.Manifest
		var index uint64
		found, err := c.any("read manifests", `SELECT version, idx, previous, sealed FROM manifests WHERE number = ?`,
			[]any{number}, &m.Number, &index, &number, &m.Sealed)
		if err == nil && !found {
			err = c.lose("read manifests", fmt.Errorf("the chain of entry %s is broken behind version %d", e.entry, version))
		}
		if err != nil {
			return chain, err
		}
		if index <= since {
			break
		}
		chain.Manifests = append(chain.Manifests, m)
		version = m.Number
	}
	slices.Reverse(chain.Manifests)
	return chain, nil
}

func chainSize(c meta.Chain) (n int) {
	for _, m := range c.Manifests {
		n += len(m.Sealed)
	}
	return n
}
