package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type entries struct{ *session }

func (s entries) Versions(w meta.WorkspaceKey, entries []id.Entry) ([]meta.Version, error) {
	return each(s.session, "find entries", byID(`SELECT id, version, base, idx FROM entries WHERE organization = $1 AND workspace = $2`, "$3"),
		[]any{w.Organization, w.Number, bytesOf(entries)}, entries,
		func(rows pgx.Rows, v *meta.Version) (e id.Entry, err error) {
			err = rows.Scan(into(e[:]), &v.Number, &v.Base, &v.Index)
			return e, err
		})
}

func (s entries) Put(w meta.WorkspaceKey, index uint64, changes []meta.Change) error {
	const what = "put entries"
	if len(changes) == 0 {
		return nil
	}
	n := len(changes)
	ids, versions, bases := make([][]byte, n), make([]int64, n), make([]int64, n)
	var entries, sealed [][]byte
	var numbers []int64
	counts := s.add(w.Organization)
	for i := range changes {
		c := &changes[i]
		ids[i], versions[i], bases[i] = c.Entry[:], int64(c.Number), int64(c.Base)
		if c.Base > 0 {
			entries, numbers, sealed = append(entries, c.Entry[:]), append(numbers, int64(c.Number)), append(sealed, blob(c.Sealed))
			counts.Manifests++
			counts.ManifestBytes += uint64(len(c.Sealed))
		}
	}
	if err := s.put(what, `
		WITH written AS (
			INSERT INTO entries AS e (organization, workspace, id, version, base, idx)
			SELECT $1, $2, id, version, base, $6 FROM unnest($3::bytea[], $4::bigint[], $5::bigint[]) AS c (id, version, base)
			ON CONFLICT (organization, workspace, id) DO UPDATE SET version = excluded.version, base = excluded.base, idx = excluded.idx
			WHERE e.version < excluded.version RETURNING 1
		) SELECT parsec_must(count(*) = $7, '`+uniqueViolation+`') FROM written`,
		w.Organization, w.Number, ids, versions, bases, index, n); err != nil {
		return err
	}
	return s.put(what, `
		INSERT INTO manifests (organization, workspace, entry, version, idx, sealed)
		SELECT $1, $2, entry, version, $6, sealed FROM unnest($3::bytea[], $4::bigint[], $5::bytea[]) AS c (entry, version, sealed)`,
		w.Organization, w.Number, entries, numbers, sealed, index)
}

// selectChains reads the chains of the entries that a query before it calls
// asked, and numbers by place from 1 on. $1 and $2 are the workspace. Only
// versions behind index $3 are read, as many as fit in $4 bytes, and at any
// rate those of the first $5 places.
const selectChains = `
	SELECT place, id, coalesce(newest, 0), coalesce(base, 0), coalesce(idx, 0), coalesce(version, 0), sealed FROM (
		SELECT a.*, m.version, m.sealed, sum(coalesce(octet_length(m.sealed), 0)) OVER (ORDER BY a.place, m.version) AS total
		FROM asked AS a LEFT JOIN LATERAL (
			SELECT version, sealed FROM manifests
			WHERE organization = $1 AND workspace = $2 AND entry = a.id AND version BETWEEN a.base AND a.newest AND a.base > 0 AND idx > $3
		) AS m ON true
	) AS c WHERE total <= $4 OR place <= $5 ORDER BY place, version`

func (s entries) Chains(w meta.WorkspaceKey, entries []id.Entry, maxBytes int) (found []meta.Chain, err error) {
	p := page{maxBytes: maxBytes}
	for rows := firstRows; len(entries) > 0 && !p.full; rows = min(2*rows, mostRows) {
		n := min(rows, len(entries))
		err := s.read(&p, n, 0, `
			WITH asked AS (
				SELECT u.place, u.id, e.version AS newest, e.base, e.idx
				FROM unnest($6::bytea[]) WITH ORDINALITY AS u (id, place)
				LEFT JOIN entries e ON e.organization = $1 AND e.workspace = $2 AND e.id = u.id
			)`+selectChains,
			w, bytesOf(entries[:n]))
		if err != nil {
			return nil, err
		}
		entries = entries[n:]
	}
	return p.chains, nil
}

func (s entries) Spans(w meta.WorkspaceKey, spans []meta.Span, maxBytes int) (found []meta.Chain, err error) {
	p := page{maxBytes: maxBytes}
	for rows := firstRows; len(spans) > 0 && !p.full; rows = min(2*rows, mostRows) {
		n := min(rows, len(spans))
		ids, first, last := make([]id.Entry, n), make([]int64, n), make([]int64, n)
		for i, span := range spans[:n] {
			ids[i], first[i], last[i] = span.Entry, int64(span.First), int64(span.Last)
		}
		// A span that is not whole is as an entry that is gone.
		err := s.read(&p, n, 0, `
			WITH asked AS (
				SELECT u.place, u.id, u.newest, CASE (
					SELECT count(*) FROM manifests
					WHERE organization = $1 AND workspace = $2 AND entry = u.id AND version BETWEEN u.base AND u.newest
				) WHEN u.newest - u.base + 1 THEN u.base END AS base, 0 AS idx
				FROM unnest($6::bytea[], $7::bigint[], $8::bigint[]) WITH ORDINALITY AS u (id, base, newest, place)
			)`+selectChains,
			w, bytesOf(ids), first, last)
		if err != nil {
			return nil, err
		}
		spans = spans[n:]
	}
	return p.chains, nil
}

func (s entries) Changed(w meta.WorkspaceKey, since uint64, after meta.Cursor, maxBytes int) (found []meta.Chain, err error) {
	// No entry has the zero id, so one comparison finds where to go on.
	from := after
	if since >= after.Index {
		from = meta.Cursor{Index: since + 1}
	}
	p := page{maxBytes: maxBytes}
	for rows := firstRows; !p.full; rows = min(2*rows, mostRows) {
		before := len(p.chains)
		err := s.read(&p, rows, since, `
			WITH asked AS MATERIALIZED (
				SELECT row_number() OVER (ORDER BY idx, id) AS place, id, version AS newest, base, idx FROM (
					SELECT id, version, base, idx FROM entries
					WHERE organization = $1 AND workspace = $2 AND base > 0 AND (idx, id) > ($6, $7) ORDER BY idx, id LIMIT $8
				) AS e
			)`+selectChains,
			w, from.Index, from.Entry[:], rows)
		if err != nil {
			return nil, err
		}
		if len(p.chains)-before < rows { // that was the last, or there is no room
			break
		}
		last := p.chains[len(p.chains)-1]
		from = meta.Cursor{Index: last.Index, Entry: last.Entry}
	}
	return p.chains, nil
}

// page is what a bounded number of bytes has room for.
type page struct {
	maxBytes, size int
	chains         []meta.Chain
	// full says that there was a chain for which there was no room.
	full bool
}

// read reads chains into a page, with a query that ends with selectChains and
// considers n entries. What was read of a chain that was cut off is dropped.
func (s entries) read(p *page, n int, since uint64, query string, w meta.WorkspaceKey, args ...any) error {
	first := 0
	if len(p.chains) == 0 {
		first = 1
	}
	var now reading
	err := s.ask("read entries", query, append([]any{w.Organization, w.Number, since, p.maxBytes - p.size, first}, args...), func(rows pgx.Rows) error {
		var r reading
		var m meta.Manifest
		if err := rows.Scan(&r.place, into(r.Entry[:]), &r.newest, &r.base, &r.Index, &m.Number, &m.Sealed); err != nil {
			return err
		}
		if r.place != now.place {
			if err := p.add(now, since); err != nil {
				return err
			}
			now = r
		}
		if m.Number > 0 {
			now.Manifests = append(now.Manifests, m)
		}
		return nil
	})
	if err == nil {
		err = p.add(now, since)
	}
	p.full = p.full || now.place < n
	if err != nil && s.lost == nil {
		return s.lose("read entries", err)
	}
	return err
}

// reading is a chain on its way from the database.
type reading struct {
	meta.Chain
	place        int
	newest, base uint64
}

// add takes a chain in, unless some of it had no room.
func (p *page) add(r reading, since uint64) error {
	n := len(r.Manifests)
	switch {
	case r.place == 0:
		return nil
	case r.base == 0:
		p.chains = append(p.chains, meta.Chain{})
		return nil
	case n == 0 || r.Manifests[n-1].Number != r.newest:
		p.full = true
		if len(p.chains) == 0 { // of the first all is read
			return errBroken(r)
		}
		return nil
	}
	first := r.Manifests[0].Number
	if since == 0 && first != r.base || r.newest-first != uint64(n-1) {
		return errBroken(r)
	}
	p.chains = append(p.chains, r.Chain)
	for _, m := range r.Manifests {
		p.size += len(m.Sealed)
	}
	return nil
}

func errBroken(r reading) error {
	return fmt.Errorf("the chain of entry %s is broken at or before version %d", r.Entry, r.newest)
}
