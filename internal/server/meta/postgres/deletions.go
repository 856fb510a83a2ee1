package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type deletions struct{ *session }

func (s deletions) Begun(after meta.OrganizationKey, limit int) (found []meta.Organization, err error) {
	err = s.ask("list organizations that go", selectOrganization+`WHERE deleting > 0 AND key > $1 ORDER BY key LIMIT $2`, []any{after, limit},
		func(rows pgx.Rows) error {
			var o meta.Organization
			err := rows.Scan(scanOrganization(&o)...)
			found = append(found, o)
			return err
		})
	return found, err
}

func (s deletions) Workspaces(o meta.OrganizationKey, after id.Workspace, limit int) (found []id.Workspace, err error) {
	err = s.ask("list workspaces", `SELECT id FROM workspaces WHERE organization = $1 AND id > $2 ORDER BY id LIMIT $3`,
		[]any{o, after[:], limit}, func(rows pgx.Rows) error {
			var w id.Workspace
			err := rows.Scan(into(w[:]))
			found = append(found, w)
			return err
		})
	return found, err
}

// removals remove rows of an organization. The counters go last, when nothing
// is left that another transaction could count.
var removals = []string{
	`DELETE FROM entries WHERE ctid = ANY(ARRAY(SELECT ctid FROM entries WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM manifests WHERE ctid = ANY(ARRAY(SELECT ctid FROM manifests WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM records WHERE ctid = ANY(ARRAY(SELECT ctid FROM records WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM blocks WHERE ctid = ANY(ARRAY(SELECT ctid FROM blocks WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM packs WHERE ctid = ANY(ARRAY(SELECT ctid FROM packs WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM grants WHERE ctid = ANY(ARRAY(SELECT ctid FROM grants WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM members WHERE ctid = ANY(ARRAY(SELECT ctid FROM members WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM workspaces WHERE ctid = ANY(ARRAY(SELECT ctid FROM workspaces WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM messages WHERE ctid = ANY(ARRAY(SELECT ctid FROM messages WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM attempts WHERE ctid = ANY(ARRAY(SELECT ctid FROM attempts WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM invitations WHERE ctid = ANY(ARRAY(SELECT ctid FROM invitations WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM user_manifests WHERE ctid = ANY(ARRAY(SELECT ctid FROM user_manifests WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM deliveries WHERE ctid = ANY(ARRAY(SELECT ctid FROM deliveries WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM users WHERE ctid = ANY(ARRAY(SELECT ctid FROM users WHERE organization = $1 LIMIT $2)) RETURNING true`,
	`DELETE FROM counters WHERE ctid = ANY(ARRAY(SELECT ctid FROM counters WHERE organization = $1 LIMIT $2)) RETURNING true`,
}

func (s deletions) Remove(o meta.OrganizationKey, limit int) (more bool, err error) {
	const what = "remove rows of an organization"
	var since int64
	if err := s.one(what, `SELECT deleting FROM organizations WHERE key = $1 AND deleting > 0`, []any{o}, &since); err != nil {
		return false, err
	}
	n := 0
	for _, query := range removals {
		if err := s.change(what, query, []any{o, limit - n}, func(pgx.Rows) error { n++; return nil }); err != nil {
			return false, err
		}
		if n >= limit {
			return true, nil
		}
	}
	return n > 0, nil
}

func (s deletions) End(o meta.OrganizationKey) error {
	const what = "remove organization"
	found := false
	err := s.change(what, `DELETE FROM organizations WHERE key = $1 AND deleting > 0 RETURNING true`, []any{o},
		func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	return err
}
