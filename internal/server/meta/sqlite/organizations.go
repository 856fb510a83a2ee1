package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type organizations struct{ *conn }

func (c organizations) Create(o meta.Organization) (meta.OrganizationKey, error) {
	key, err := c.insert("create organization", `
		INSERT INTO organizations (name, bootstrap, fingerprint, root, idx, head, created,
			expired, limit_active_users, limit_storage, outsiders, updated, deleting, problem)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.Name, o.Bootstrap[:], fingerprint(o.Fingerprint), blob(o.Root), o.Position.Index, o.Position.Head[:], o.Created,
		o.Expired, o.Limits.ActiveUsers, o.Limits.Storage, o.Limits.Outsiders, o.Updated, o.Deleting, o.Problem)
	return meta.OrganizationKey(key), err
}

// fingerprint is NULL where there is none yet, so that many have none.
func fingerprint(f id.Fingerprint) any {
	if f.IsZero() {
		return nil
	}
	return f[:]
}

// blob is not NULL where there are no bytes.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const selectOrganization = `
	SELECT key, name, bootstrap, coalesce(fingerprint, zeroblob(32)), root, idx, head, created,
		expired, limit_active_users, limit_storage, outsiders, updated, frozen, deleting, problem
	FROM organizations `

func scanOrganization(o *meta.Organization) []any {
	return []any{
		&o.Key, &o.Name, into(o.Bootstrap[:]), into(o.Fingerprint[:]), (*[]byte)(&o.Root), &o.Position.Index, into(o.Position.Head[:]), &o.Created,
		&o.Expired, &o.Limits.ActiveUsers, &o.Limits.Storage, &o.Limits.Outsiders, &o.Updated, &o.Frozen, &o.Deleting, &o.Problem,
	}
}

func (c organizations) ByName(name string) (o meta.Organization, err error) {
	err = c.one("find organization", selectOrganization+`WHERE name = ?`, []any{name}, scanOrganization(&o)...)
	return o, err
}

func (c organizations) ByFingerprint(f id.Fingerprint) (o meta.Organization, err error) {
	err = c.one("find organization", selectOrganization+`WHERE fingerprint = ?`, []any{f[:]}, scanOrganization(&o)...)
	return o, err
}

func (c organizations) List(after string, limit int) (found []meta.Organization, err error) {
	err = c.each("list organizations", selectOrganization+`WHERE name > ? ORDER BY name LIMIT ?`, []any{after, limit},
		func(rows *sql.Rows) (bool, error) {
			var o meta.Organization
			err := rows.Scan(scanOrganization(&o)...)
			found = append(found, o)
			return true, err
		})
	return found, err
}

// Lock has nothing to lock: there is one writer at a time.
func (c organizations) Lock(key meta.OrganizationKey, _ meta.Lock) (o meta.Organization, err error) {
	err = c.one("lock organization", selectOrganization+`WHERE key = ?`, []any{key}, scanOrganization(&o)...)
	return o, err
}

func (c organizations) Update(o meta.Organization) error {
	return c.change("update organization", `
		UPDATE organizations SET name = ?, bootstrap = ?, fingerprint = ?, root = ?, idx = ?, head = ?, created = ?,
			expired = ?, limit_active_users = ?, limit_storage = ?, outsiders = ?, updated = ?, deleting = ?, problem = ?
		WHERE key = ?`,
		o.Name, o.Bootstrap[:], fingerprint(o.Fingerprint), blob(o.Root), o.Position.Index, o.Position.Head[:], o.Created,
		o.Expired, o.Limits.ActiveUsers, o.Limits.Storage, o.Limits.Outsiders, o.Updated, o.Deleting, o.Problem, o.Key)
}

func (c organizations) Freeze(key meta.OrganizationKey, user id.User, since int64) error {
	const what = "freeze user"
	n, err := c.exec(what, `UPDATE users SET frozen = ?1 WHERE organization = ?2 AND id = ?3 AND (frozen = 0) <> (?1 = 0)`, since, key, user[:])
	if err != nil {
		return err
	}
	if n == 0 {
		var was int64
		return c.one(what, `SELECT frozen FROM users WHERE organization = ? AND id = ?`, []any{key, user[:]}, &was)
	}
	return c.change(what, `UPDATE organizations SET frozen = frozen + iif(? = 0, -1, 1) WHERE key = ?`, since, key)
}

func (c organizations) Stats(key meta.OrganizationKey) (s meta.Stats, err error) {
	err = c.one("count organization", `
		SELECT users, active_users, workspaces, records, manifests, manifest_bytes, blocks, block_bytes, packs
		FROM organizations WHERE key = ?`, []any{key},
		&s.Users, &s.ActiveUsers, &s.Workspaces, &s.Records, &s.Manifests, &s.ManifestBytes, &s.Blocks, &s.BlockBytes, &s.Packs)
	return s, err
}
