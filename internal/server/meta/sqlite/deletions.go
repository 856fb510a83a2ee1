package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type deletions struct{ *conn }

func (c deletions) Begun(after meta.OrganizationKey, limit int) (found []meta.Organization, err error) {
	err = c.each("list organizations that go", selectOrganization+`WHERE deleting > 0 AND key > ? ORDER BY key LIMIT ?`, []any{after, limit},
		func(rows *sql.Rows) (bool, error) {
			var o meta.Organization
			err := rows.Scan(scanOrganization(&o)...)
			found = append(found, o)
			return true, err
		})
	return found, err
}

func (c deletions) Workspaces(o meta.OrganizationKey, after id.Workspace, limit int) (found []id.Workspace, err error) {
	err = c.each("list workspaces", `SELECT id FROM workspaces WHERE organization = ? AND id > ? ORDER BY id LIMIT ?`,
		[]any{o, after[:], limit}, func(rows *sql.Rows) (bool, error) {
			var w id.Workspace
			err := rows.Scan(into(w[:]))
			found = append(found, w)
			return true, err
		})
	return found, err
}

// chainsAtOnce is of how many entries the manifests go at once: each may have
// had many versions.
const chainsAtOnce = 10

// removals remove rows of an organization, ?1, at most ?2 of them.
var removals = []string{
	`DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM blocks WHERE rowid IN (SELECT rowid FROM blocks WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM packs WHERE organization = ?1 AND (workspace, id) IN (SELECT workspace, id FROM packs WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM grants WHERE rowid IN (SELECT rowid FROM grants WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM members WHERE organization = ?1 AND (user, workspace) IN (SELECT user, workspace FROM members WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM workspaces WHERE number IN (SELECT number FROM workspaces WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM attempts WHERE number IN (SELECT number FROM attempts WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM invitations WHERE rowid IN (SELECT rowid FROM invitations WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM user_manifests WHERE rowid IN (SELECT rowid FROM user_manifests WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM deliveries WHERE rowid IN (SELECT rowid FROM deliveries WHERE organization = ?1 LIMIT ?2)`,
	`DELETE FROM users WHERE organization = ?1 AND id IN (SELECT id FROM users WHERE organization = ?1 LIMIT ?2)`,
}

func (c deletions) Remove(o meta.OrganizationKey, limit int) (more bool, err error) {
	const what = "remove rows of an organization"
	var since int64
	if err := c.one(what, `SELECT deleting FROM organizations WHERE key = ? AND deleting > 0`, []any{o}, &since); err != nil {
		return false, err
	}
	n, err := c.chains(o, min(limit, chainsAtOnce))
	if err != nil || n > 0 {
		return n > 0, err
	}
	for _, query := range removals {
		some, err := c.exec(what, query, o, int64(limit)-n)
		if err != nil {
			return false, err
		}
		if n += some; n >= int64(limit) {
			return true, nil
		}
	}
	return n > 0, nil
}

// chains removes entries of an organization with their manifests. These have no
// index that leads to an organization's: they are found as always, from the
// newest one of their entry.
func (c deletions) chains(o meta.OrganizationKey, limit int) (int64, error) {
	const what = "remove entries of an organization"
	var newest []int64
	if err := c.each(what, `SELECT manifest FROM entries WHERE organization = ? ORDER BY workspace, id LIMIT ?`, []any{o, limit},
		func(rows *sql.Rows) (bool, error) {
			newest = append(newest, 0)
			return true, rows.Scan(&newest[len(newest)-1])
		}); err != nil {
		return 0, err
	}
	for _, number := range newest {
		for number > 0 {
			var previous int64
			if _, err := c.any(what, `SELECT previous FROM manifests WHERE number = ?`, []any{number}, &previous); err != nil {
				return 0, err
			}
			if _, err := c.exec(what, `DELETE FROM manifests WHERE number = ?`, number); err != nil {
				return 0, err
			}
			number = previous
		}
	}
	return c.exec(what, `
		DELETE FROM entries WHERE organization = ?1 AND (workspace, id) IN (
			SELECT workspace, id FROM entries WHERE organization = ?1 ORDER BY workspace, id LIMIT ?2)`, o, limit)
}

func (c deletions) End(o meta.OrganizationKey) error {
	return c.change("remove organization", `DELETE FROM organizations WHERE key = ? AND deleting > 0`, o)
}
