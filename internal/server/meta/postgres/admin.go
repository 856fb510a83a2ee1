package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type adminTokens struct{ *session }

func (s adminTokens) Add(t meta.AdminToken) error {
	return s.change("add admin token", `INSERT INTO admin_tokens (id, hash, created, valid, revoked) VALUES ($1, $2, $3, true, 0)`,
		[]any{t.ID[:], t.Hash[:], t.Created}, none)
}

func (s adminTokens) Valid() (t meta.AdminToken, err error) {
	err = s.one("find admin token", `SELECT id, hash, created FROM admin_tokens WHERE valid`, nil,
		into(t.ID[:]), into(t.Hash[:]), &t.Created)
	return t, err
}

func (s adminTokens) Revoke(token id.AdminToken, when int64) error {
	const what = "revoke admin token"
	found := false
	err := s.change(what, `UPDATE admin_tokens SET valid = NULL, revoked = $2 WHERE id = $1 AND valid RETURNING true`,
		[]any{token[:], when}, func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: it is not the valid one", what)
	}
	return err
}

type audit struct{ *session }

func (s audit) Append(d meta.Deed) error {
	return s.put("append to the audit trail", `INSERT INTO audit (at, act, token, what, subject, outcome) VALUES ($1, $2, $3, $4, $5, $6)`,
		d.At, d.Act[:], d.Token[:], d.What, d.Subject, d.Outcome)
}

func (s audit) List(since, after int64, limit int) (found []meta.Deed, err error) {
	err = s.ask("list the audit trail", `
		SELECT number, at, act, token, what, subject, outcome FROM audit WHERE number > $2 AND at >= $1 ORDER BY number LIMIT $3`,
		[]any{since, after, limit}, func(rows pgx.Rows) error {
			var d meta.Deed
			err := rows.Scan(&d.Number, &d.At, into(d.Act[:]), into(d.Token[:]), &d.What, &d.Subject, &d.Outcome)
			found = append(found, d)
			return err
		})
	return found, err
}
