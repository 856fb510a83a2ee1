package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type workspaces struct{ *conn }

func (c workspaces) Create(w meta.Workspace) (meta.WorkspaceKey, error) {
	const what = "create workspace"
	key := w.Key
	var err error
	key.Number, err = c.insert(what, `
		INSERT INTO workspaces (organization, id, idx, head, state, updated) VALUES (?, ?, ?, ?, ?, ?)`,
		key.Organization, w.ID[:], w.Position.Index, w.Position.Head[:], blob(w.State), w.Updated)
	if err != nil {
		return meta.WorkspaceKey{}, err
	}
	return key, c.change(what, `UPDATE organizations SET workspaces = workspaces + 1 WHERE key = ?`, key.Organization)
}

func (c workspaces) Get(o meta.OrganizationKey, id id.Workspace) (meta.Workspace, error) {
	w := meta.Workspace{ID: id, Key: meta.WorkspaceKey{Organization: o}}
	err := c.one("get workspace", `SELECT number, idx, head, state, updated FROM workspaces WHERE organization = ? AND id = ?`,
		[]any{o, id[:]}, &w.Key.Number, &w.Position.Index, into(w.Position.Head[:]), &w.State, &w.Updated)
	return w, err
}

// Lock has nothing to lock: there is one writer at a time.
func (c workspaces) Lock(key meta.OrganizationKey, id id.Workspace) (w meta.Workspace, o meta.Organization, err error) {
	if w, err = c.Get(key, id); err == nil {
		o, err = organizations(c).Lock(key, meta.Shared)
	}
	return w, o, err
}

func (c workspaces) Update(w meta.Workspace) error {
	return c.change("update workspace", `
		UPDATE workspaces SET idx = ?, head = ?, state = ?, updated = ? WHERE organization = ? AND number = ?`,
		w.Position.Index, w.Position.Head[:], blob(w.State), w.Updated, w.Key.Organization, w.Key.Number)
}

func (c workspaces) SetRole(w meta.WorkspaceKey, user id.User, role record.Role, when int64) error {
	const what = "set role"
	if role == record.RoleNone {
		_, err := c.exec(what, `DELETE FROM members WHERE organization = ? AND user = ? AND workspace = ?`,
			w.Organization, user[:], w.Number)
		return err
	}
	_, err := c.exec(what, `
		INSERT INTO members (organization, user, workspace, role, updated) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET role = excluded.role, updated = excluded.updated`,
		w.Organization, user[:], w.Number, role, when)
	return err
}

func (c workspaces) OfMember(o meta.OrganizationKey, user id.User, after id.Workspace, limit int) (found []meta.Membership, err error) {
	err = c.each("list workspaces", `
		SELECT w.id, w.idx, m.role FROM members m JOIN workspaces w ON w.number = m.workspace
		WHERE m.organization = ? AND m.user = ? AND w.id > ? ORDER BY w.id LIMIT ?`,
		[]any{o, user[:], after[:], limit},
		func(rows *sql.Rows) (bool, error) {
			var m meta.Membership
			err := rows.Scan(into(m.ID[:]), &m.Index, &m.Role)
			found = append(found, m)
			return true, err
		})
	return found, err
}

func (c workspaces) Joined(since int64, limit int) (found []meta.Joining, err error) {
	err = c.each("list memberships that are new", `
		SELECT coalesce(o.fingerprint, zeroblob(32)), m.user, m.updated FROM members m JOIN organizations o ON o.key = m.organization
		WHERE m.updated >= ? ORDER BY m.updated LIMIT ?`,
		[]any{since, limit},
		func(rows *sql.Rows) (bool, error) {
			var j meta.Joining
			err := rows.Scan(into(j.Organization[:]), into(j.User[:]), &j.Updated)
			found = append(found, j)
			return true, err
		})
	return found, err
}

type grants struct{ *conn }

func (c grants) Put(w meta.WorkspaceKey, grants []meta.Grant) error {
	for _, g := range grants {
		if _, err := c.exec("put grants", `
			INSERT INTO grants (organization, workspace, recipient, generation, resealer, sealed) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET sealed = excluded.sealed`,
			w.Organization, w.Number, g.Recipient[:], g.Generation, g.Resealer[:], blob(g.Sealed)); err != nil {
			return err
		}
	}
	return nil
}

func (c grants) Of(w meta.WorkspaceKey, recipient [id.Size]byte, before uint64, limit int) (found []meta.Grant, err error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	err = c.each("list grants", `
		SELECT generation, resealer, sealed FROM grants
		WHERE organization = ? AND workspace = ? AND recipient = ? AND generation < ?
		ORDER BY generation DESC, resealer LIMIT ?`,
		[]any{w.Organization, w.Number, recipient[:], before, limit},
		func(rows *sql.Rows) (bool, error) {
			g := meta.Grant{Recipient: recipient}
			err := rows.Scan(&g.Generation, into(g.Resealer[:]), &g.Sealed)
			found = append(found, g)
			return true, err
		})
	return found, err
}
