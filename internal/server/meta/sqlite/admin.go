package sqlite

import (
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
