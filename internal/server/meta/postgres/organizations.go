package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type organizations struct{ *session }

func (s organizations) Create(o meta.Organization) (key meta.OrganizationKey, err error) {
	err = s.change("create organization", `
		INSERT INTO organizations (name, bootstrap, fingerprint, root, idx, head, created,
			expired, limit_active_users, limit_storage, outsiders, updated, deleting, problem)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING key`,
		[]any{
			o.Name, o.Bootstrap[:], fingerprint(o.Fingerprint), blob(o.Root), o.Position.Index, o.Position.Head[:], o.Created,
			o.Expired, o.Limits.ActiveUsers, o.Limits.Storage, o.Limits.Outsiders, o.Updated, o.Deleting, o.Problem,
		}, func(rows pgx.Rows) error { return rows.Scan(&key) })
	return key, err
}

// fingerprint is NULL where there is none yet, so that many have none.
func fingerprint(f id.Fingerprint) []byte {
	if f.IsZero() {
		return nil
	}
	return f[:]
}

const selectOrganization = `
	SELECT key, name, bootstrap, fingerprint, root, idx, head, created,
		expired, limit_active_users, limit_storage, outsiders, updated, frozen, deleting, problem
	FROM organizations `

func scanOrganization(o *meta.Organization) []any {
	return []any{
		&o.Key, &o.Name, into(o.Bootstrap[:]), orZero(o.Fingerprint[:]), (*[]byte)(&o.Root), &o.Position.Index, into(o.Position.Head[:]), &o.Created,
		&o.Expired, &o.Limits.ActiveUsers, &o.Limits.Storage, &o.Limits.Outsiders, &o.Updated, &o.Frozen, &o.Deleting, &o.Problem,
	}
}

func (s organizations) ByName(name string) (o meta.Organization, err error) {
	err = s.one("find organization", selectOrganization+`WHERE name = $1`, []any{name}, scanOrganization(&o)...)
	return o, err
}

func (s organizations) ByFingerprint(f id.Fingerprint) (o meta.Organization, err error) {
	err = s.one("find organization", selectOrganization+`WHERE fingerprint = $1`, []any{f[:]}, scanOrganization(&o)...)
	return o, err
}

func (s organizations) List(after string, limit int) (found []meta.Organization, err error) {
	err = s.ask("list organizations", selectOrganization+`WHERE name > $1 ORDER BY name LIMIT $2`, []any{after, limit},
		func(rows pgx.Rows) error {
			var o meta.Organization
			err := rows.Scan(scanOrganization(&o)...)
			found = append(found, o)
			return err
		})
	return found, err
}

// organizationLocks is the first number of the advisory locks of
// organizations. The second is the key, or some of its bits, which at worst
// has two organizations wait for each other.
const organizationLocks = 0x70617273

func (s organizations) Lock(key meta.OrganizationKey, how meta.Lock) (o meta.Organization, err error) {
	if !s.reads {
		if err := s.put(lockOrganization, lockQuery(how), int32(organizationLocks), int32(key)); err != nil {
			return o, err
		}
	}
	err = s.one(lockOrganization, selectOrganization+`WHERE key = $1`, []any{key}, scanOrganization(&o)...)
	return o, err
}

const lockOrganization = "lock organization"

func lockQuery(how meta.Lock) string {
	if how == meta.Shared {
		return `SELECT pg_advisory_xact_lock_shared($1, $2)`
	}
	return `SELECT pg_advisory_xact_lock($1, $2)`
}

func (s organizations) Update(o meta.Organization) error {
	const what = "update organization"
	found := false
	err := s.change(what, `
		UPDATE organizations SET name = $2, bootstrap = $3, fingerprint = $4, root = $5, idx = $6, head = $7, created = $8,
			expired = $9, limit_active_users = $10, limit_storage = $11, outsiders = $12, updated = $13, deleting = $14, problem = $15
		WHERE key = $1 RETURNING true`,
		[]any{
			o.Key, o.Name, o.Bootstrap[:], fingerprint(o.Fingerprint), blob(o.Root), o.Position.Index, o.Position.Head[:], o.Created,
			o.Expired, o.Limits.ActiveUsers, o.Limits.Storage, o.Limits.Outsiders, o.Updated, o.Deleting, o.Problem,
		}, func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	return err
}

func (s organizations) Freeze(key meta.OrganizationKey, user id.User, since int64) error {
	const what = "freeze user"
	changed := false
	if err := s.change(what, `
		UPDATE users SET frozen = $3 WHERE organization = $1 AND id = $2 AND (frozen = 0) <> ($3::bigint = 0) RETURNING true`,
		[]any{key, user[:], since}, func(rows pgx.Rows) error { return rows.Scan(&changed) }); err != nil {
		return err
	}
	if !changed {
		var was int64
		return s.one(what, `SELECT frozen FROM users WHERE organization = $1 AND id = $2`, []any{key, user[:]}, &was)
	}
	more := 1
	if since == 0 {
		more = -1
	}
	return s.change(what, `UPDATE organizations SET frozen = frozen + $2 WHERE key = $1`, []any{key, more}, none)
}

func (s organizations) Stats(key meta.OrganizationKey) (t meta.Stats, err error) {
	s.count()
	err = s.one("count organization", `
		SELECT coalesce(sum(users), 0)::bigint, coalesce(sum(active_users), 0)::bigint, coalesce(sum(workspaces), 0)::bigint,
			coalesce(sum(records), 0)::bigint, coalesce(sum(manifests), 0)::bigint, coalesce(sum(manifest_bytes), 0)::bigint,
			coalesce(sum(blocks), 0)::bigint, coalesce(sum(block_bytes), 0)::bigint, coalesce(sum(packs), 0)::bigint
		FROM organizations o LEFT JOIN counters c ON c.organization = o.key WHERE o.key = $1 GROUP BY o.key`, []any{key},
		&t.Users, &t.ActiveUsers, &t.Workspaces, &t.Records, &t.Manifests, &t.ManifestBytes, &t.Blocks, &t.BlockBytes, &t.Packs)
	return t, err
}
