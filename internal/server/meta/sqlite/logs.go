package sqlite

import (
	"database/sql"

	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type logs struct{ *conn }

func (c logs) Append(l meta.Log, records []meta.Record) error {
	const what = "append records"
	for _, r := range records {
		if _, err := c.exec(what, `
			INSERT INTO records (organization, workspace, idx, head, digest, raw) VALUES (?, ?, ?, ?, ?, ?)`,
			l.Organization, l.Number, r.Position.Index, r.Position.Head[:], r.Digest[:], blob(r.Raw)); err != nil {
			return err
		}
	}
	if len(records) == 0 {
		return nil
	}
	return c.change(what, `UPDATE organizations SET records = records + ? WHERE key = ?`, len(records), l.Organization)
}

func (c logs) Since(l meta.Log, index uint64, maxBytes int) (found []meta.Record, err error) {
	size := 0
	err = c.each("read records", `
		SELECT idx, head, digest, raw FROM records
		WHERE organization = ? AND workspace = ? AND idx > ? ORDER BY idx`,
		[]any{l.Organization, l.Number, index},
		func(rows *sql.Rows) (bool, error) {
			var r meta.Record
			var raw sql.RawBytes
			if err := rows.Scan(&r.Position.Index, into(r.Position.Head[:]), into(r.Digest[:]), &raw); err != nil {
				return false, err
			}
			if size += len(raw); size > maxBytes && len(found) > 0 {
				return false, nil
			}
			r.Raw = append([]byte{}, raw...)
			found = append(found, r)
			return true, nil
		})
	return found, err
}

func (c logs) Find(l meta.Log, digest record.Digest) (p record.Position, err error) {
	_, err = c.any("find record", `SELECT idx, head FROM records WHERE organization = ? AND workspace = ? AND digest = ?`,
		[]any{l.Organization, l.Number, digest[:]}, &p.Index, into(p.Head[:]))
	return p, err
}

func (c logs) Head(l meta.Log, index uint64) (h record.Head, err error) {
	err = c.one("find head", `SELECT head FROM records WHERE organization = ? AND workspace = ? AND idx = ?`,
		[]any{l.Organization, l.Number, index}, into(h[:]))
	return h, err
}

func (c logs) Moved(since int64, limit int) (found []meta.Movement, err error) {
	// Each half reads its index in order, and no more of it than the whole may have.
	err = c.each("list logs that moved", `
		SELECT fingerprint, workspace, idx, updated FROM (
			SELECT * FROM (SELECT coalesce(fingerprint, zeroblob(32)) AS fingerprint, zeroblob(16) AS workspace, idx, updated
				FROM organizations WHERE updated >= ?1 ORDER BY updated LIMIT ?2)
			UNION ALL
			SELECT * FROM (SELECT coalesce(o.fingerprint, zeroblob(32)), w.id, w.idx, w.updated
				FROM workspaces w JOIN organizations o ON o.key = w.organization WHERE w.updated >= ?1 ORDER BY w.updated LIMIT ?2)
		) ORDER BY updated LIMIT ?2`,
		[]any{since, limit},
		func(rows *sql.Rows) (bool, error) {
			var m meta.Movement
			err := rows.Scan(into(m.Organization[:]), into(m.Workspace[:]), &m.Index, &m.Updated)
			found = append(found, m)
			return true, err
		})
	return found, err
}
