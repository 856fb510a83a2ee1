package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type workspaces struct{ *session }

// Create needs no lock of its own: nobody sees the row before the transaction ends.
func (s workspaces) Create(w meta.Workspace) (meta.WorkspaceKey, error) {
	key := w.Key
	if err := s.change("create workspace", `
		INSERT INTO workspaces (organization, id, idx, head, state, updated) VALUES ($1, $2, $3, $4, $5, $6) RETURNING number`,
		[]any{key.Organization, w.ID[:], w.Position.Index, w.Position.Head[:], blob(w.State), w.Updated},
		func(rows pgx.Rows) error { return rows.Scan(&key.Number) }); err != nil {
		return meta.WorkspaceKey{}, err
	}
	s.add(key.Organization).Workspaces++
	return key, nil
}

const selectWorkspace = `SELECT number, idx, head, state, updated FROM workspaces WHERE organization = $1 AND id = $2`

func (s workspaces) Get(o meta.OrganizationKey, id id.Workspace) (meta.Workspace, error) {
	w := meta.Workspace{ID: id, Key: meta.WorkspaceKey{Organization: o}}
	err := s.one("get workspace", selectWorkspace, []any{o, id[:]}, scanWorkspace(&w)...)
	return w, err
}

func scanWorkspace(w *meta.Workspace) []any {
	return []any{&w.Key.Number, &w.Position.Index, into(w.Position.Head[:]), &w.State, &w.Updated}
}

// Lock takes one round trip: the statements run one after the other, and the
// last one sees what the holder before wrote.
func (s workspaces) Lock(key meta.OrganizationKey, id id.Workspace) (w meta.Workspace, o meta.Organization, err error) {
	const what = "lock workspace"
	w, query := meta.Workspace{ID: id, Key: meta.WorkspaceKey{Organization: key}}, selectWorkspace
	if !s.reads {
		query += ` FOR NO KEY UPDATE`
	}
	found, known := false, false
	all := []statement{{what, query, []any{key, id[:]}, func(rows pgx.Rows) error {
		found = true
		return rows.Scan(scanWorkspace(&w)...)
	}}}
	if !s.reads {
		all = append(all, statement{lockOrganization, lockQuery(meta.Shared), []any{int32(organizationLocks), int32(key)}, nil})
	}
	all = append(all, statement{lockOrganization, selectOrganization + `WHERE key = $1`, []any{key}, func(rows pgx.Rows) error {
		known = true
		return rows.Scan(scanOrganization(&o)...)
	}})
	err = s.askAll(all...)
	if err == nil && !(found && known) {
		err = fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	return w, o, err
}

func (s workspaces) Update(w meta.Workspace) error {
	return s.put("update workspace", `
		WITH changed AS (
			UPDATE workspaces SET idx = $3, head = $4, state = $5, updated = $6 WHERE organization = $1 AND number = $2 RETURNING 1
		) SELECT parsec_must(EXISTS (SELECT FROM changed), '`+noDataFound+`')`,
		w.Key.Organization, w.Key.Number, w.Position.Index, w.Position.Head[:], blob(w.State), w.Updated)
}

func (s workspaces) SetRole(w meta.WorkspaceKey, user id.User, role record.Role, when int64) error {
	const what = "set role"
	if role == record.RoleNone {
		return s.put(what, `
			DELETE FROM members m USING workspaces w
			WHERE m.organization = $1 AND m.member = $2 AND m.id = w.id AND w.organization = $1 AND w.number = $3`,
			w.Organization, user[:], w.Number)
	}
	return s.put(what, `
		INSERT INTO members (organization, member, id, workspace, role, updated)
		SELECT $1, $2, id, number, $4, $5 FROM workspaces WHERE organization = $1 AND number = $3
		ON CONFLICT (organization, member, id) DO UPDATE SET role = excluded.role, updated = excluded.updated`,
		w.Organization, user[:], w.Number, int16(role), when)
}

func (s workspaces) OfMember(o meta.OrganizationKey, user id.User, after id.Workspace, limit int) (found []meta.Membership, err error) {
	err = s.ask("list workspaces", `
		SELECT m.id, w.idx, m.role FROM members m JOIN workspaces w ON w.organization = m.organization AND w.number = m.workspace
		WHERE m.organization = $1 AND m.member = $2 AND m.id > $3 ORDER BY m.id LIMIT $4`,
		[]any{o, user[:], after[:], limit},
		func(rows pgx.Rows) error {
			var m meta.Membership
			err := rows.Scan(into(m.ID[:]), &m.Index, (*uint8)(&m.Role))
			found = append(found, m)
			return err
		})
	return found, err
}

func (s workspaces) Joined(since int64, limit int) (found []meta.Joining, err error) {
	err = s.ask("list memberships that are new", `
		SELECT o.fingerprint, m.member, m.updated FROM members m JOIN organizations o ON o.key = m.organization
		WHERE m.updated >= $1 ORDER BY m.updated LIMIT $2`,
		[]any{since, limit},
		func(rows pgx.Rows) error {
			var j meta.Joining
			err := rows.Scan(orZero(j.Organization[:]), into(j.User[:]), &j.Updated)
			found = append(found, j)
			return err
		})
	return found, err
}

type grants struct{ *session }

func (s grants) Put(w meta.WorkspaceKey, grants []meta.Grant) error {
	if len(grants) == 0 {
		return nil
	}
	n := len(grants)
	recipients, resealers, sealed, generations := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([]int64, n)
	for i := range grants {
		g := &grants[i]
		recipients[i], resealers[i], sealed[i], generations[i] = g.Recipient[:], g.Resealer[:], blob(g.Sealed), int64(g.Generation)
	}
	return s.put("put grants", `
		INSERT INTO grants (organization, workspace, recipient, generation, resealer, sealed)
		SELECT $1, $2, * FROM unnest($3::bytea[], $4::bigint[], $5::bytea[], $6::bytea[])
		ON CONFLICT (organization, workspace, recipient, generation, resealer) DO UPDATE SET sealed = excluded.sealed`,
		w.Organization, w.Number, recipients, generations, resealers, sealed)
}

func (s grants) Of(w meta.WorkspaceKey, recipient [id.Size]byte, before uint64, limit int) (found []meta.Grant, err error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	err = s.ask("list grants", `
		SELECT generation, resealer, sealed FROM grants
		WHERE organization = $1 AND workspace = $2 AND recipient = $3 AND generation < $4
		ORDER BY generation DESC, resealer LIMIT $5`,
		[]any{w.Organization, w.Number, recipient[:], int64(before), limit},
		func(rows pgx.Rows) error {
			g := meta.Grant{Recipient: recipient}
			err := rows.Scan(&g.Generation, into(g.Resealer[:]), &g.Sealed)
			found = append(found, g)
			return err
		})
	return found, err
}
