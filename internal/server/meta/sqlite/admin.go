package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type adminTokens struct{ *conn }

func (c adminTokens) Add(t meta.AdminToken) error {
	_, err := c.exec("add admin token", `INSERT INTO admin_tokens (id, hash, created, valid, revoked) VALUES (?, ?, ?, 1, 0)`, t.ID[:], t.Hash[:], t.Created)
	return err
}

func (c adminTokens) Valid() (t meta.AdminToken, err error) {
	err = c.one("find admin token", `SELECT id, hash, created FROM admin_tokens WHERE valid = 1`, nil,
		into(t.ID[:]), into(t.Hash[:]), &t.Created)
	return t, err
}

func (c adminTokens) Revoke(token id.AdminToken, when int64) error {
	return c.change("revoke admin token", `UPDATE admin_tokens SET valid = NULL, revoked = ? WHERE id = ? AND valid = 1`, when, token[:])
}

type audit struct{ *conn }

func (c audit) Append(d meta.Deed) error {
	_, err := c.exec("append to the audit trail", `INSERT INTO audit (at, act, token, what, subject, outcome) VALUES (?, ?, ?, ?, ?, ?)`,
		d.At, d.Act[:], d.Token[:], d.What, d.Subject, d.Outcome)
	return err
}

func (c audit) List(since, after int64, limit int) (found []meta.Deed, err error) {
	err = c.each("list the audit trail", `
		SELECT number, at, act, token, what, subject, outcome FROM audit WHERE number > ? AND at >= ? ORDER BY number LIMIT ?`,
		[]any{after, since, limit}, func(rows *sql.Rows) (bool, error) {
			var d meta.Deed
			err := rows.Scan(&d.Number, &d.At, into(d.Act[:]), into(d.Token[:]), &d.What, &d.Subject, &d.Outcome)
			found = append(found, d)
			return true, err
		})
	return found, err
}
