package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type logs struct{ *session }

func (s logs) Append(l meta.Log, records []meta.Record) error {
	if len(records) == 0 {
		return nil
	}
	n := len(records)
	indices, heads, digests, raws := make([]int64, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i := range records {
		r := &records[i]
		indices[i], heads[i], digests[i], raws[i] = int64(r.Position.Index), r.Position.Head[:], r.Digest[:], blob(r.Raw)
	}
	s.add(l.Organization).Records += uint64(n)
	return s.put("append records", `
		INSERT INTO records (organization, workspace, idx, head, digest, raw)
		SELECT $1, $2, * FROM unnest($3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])`,
		l.Organization, l.Number, indices, heads, digests, raws)
}

// A page of rows is cut by the database where the bytes are enough, which it
// finds out for as many rows as it is asked to consider: few at first, so that
// large ones are not looked at in vain, then more and more.
const (
	firstRows = 256
	mostRows  = 8192
)

func (s logs) Since(l meta.Log, index uint64, maxBytes int) (found []meta.Record, err error) {
	for rows, size := firstRows, 0; ; rows = min(2*rows, mostRows) {
		n := 0
		if err := s.ask("read records", `
			SELECT idx, head, digest, raw FROM (
				SELECT idx, head, digest, raw, octet_length(raw) AS size, sum(octet_length(raw)) OVER (ORDER BY idx) AS total
				FROM (SELECT idx, head, digest, raw FROM records WHERE organization = $1 AND workspace = $2 AND idx > $3 ORDER BY idx LIMIT $4) AS r
			) AS r WHERE total <= $5 OR total = size ORDER BY idx`,
			[]any{l.Organization, l.Number, index, rows, maxBytes - size},
			func(row pgx.Rows) error {
				var r meta.Record
				err := row.Scan(&r.Position.Index, into(r.Position.Head[:]), into(r.Digest[:]), &r.Raw)
				n++
				index = r.Position.Index
				if size += len(r.Raw); size <= maxBytes || len(found) == 0 {
					found = append(found, r)
				}
				return err
			}); err != nil {
			return nil, err
		}
		if n < rows || size >= maxBytes {
			return found, nil
		}
	}
}

func (s logs) Find(l meta.Log, digest record.Digest) (p record.Position, err error) {
	_, err = s.any("find record", `SELECT idx, head FROM records WHERE organization = $1 AND workspace = $2 AND digest = $3`,
		[]any{l.Organization, l.Number, digest[:]}, &p.Index, into(p.Head[:]))
	return p, err
}

func (s logs) Head(l meta.Log, index uint64) (h record.Head, err error) {
	err = s.one("find head", `SELECT head FROM records WHERE organization = $1 AND workspace = $2 AND idx = $3`,
		[]any{l.Organization, l.Number, index}, into(h[:]))
	return h, err
}

func (s logs) Moved(since int64, limit int) (found []meta.Movement, err error) {
	// Each half reads its index in order, and no more of it than the whole may have.
	err = s.ask("list logs that moved", `
		SELECT fingerprint, workspace, idx, updated FROM (
			(SELECT fingerprint, NULL AS workspace, idx, updated FROM organizations WHERE updated >= $1 ORDER BY updated LIMIT $2)
			UNION ALL
			(SELECT o.fingerprint, w.id, w.idx, w.updated FROM workspaces w JOIN organizations o ON o.key = w.organization
			WHERE w.updated >= $1 ORDER BY w.updated LIMIT $2)
		) AS moved ORDER BY updated LIMIT $2`,
		[]any{since, limit},
		func(rows pgx.Rows) error {
			var m meta.Movement
			err := rows.Scan(orZero(m.Organization[:]), orZero(m.Workspace[:]), &m.Index, &m.Updated)
			found = append(found, m)
			return err
		})
	return found, err
}
