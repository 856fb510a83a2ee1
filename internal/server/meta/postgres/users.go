package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type users struct{ *session }

func (s users) Add(o meta.OrganizationKey, u meta.User) error {
	if err := s.change("add user", `INSERT INTO users (organization, id, email, opening, revoked) VALUES ($1, $2, $3, $4, $5)`,
		[]any{o, u.ID[:], u.Email, blob(u.Opening), u.Revoked}, none); err != nil {
		return err
	}
	s.add(o).Users++
	if u.Revoked == 0 {
		s.add(o).ActiveUsers++
	}
	return nil
}

// none is for queries that answer no row.
func none(pgx.Rows) error { return nil }

func (s users) Revoke(o meta.OrganizationKey, user id.User, when int64) error {
	const what = "revoke user"
	revoked := false
	if err := s.change(what, `UPDATE users SET revoked = $3 WHERE organization = $1 AND id = $2 AND revoked = 0 RETURNING true`,
		[]any{o, user[:], when}, func(rows pgx.Rows) error { return rows.Scan(&revoked) }); err != nil {
		return err
	}
	if revoked {
		s.add(o).ActiveUsers--
		return nil
	}
	var was int64
	return s.one(what, `SELECT revoked FROM users WHERE organization = $1 AND id = $2`, []any{o, user[:]}, &was)
}

const selectUser = `SELECT id, email, opening, revoked, frozen FROM users `

func scanUser(u *meta.User) []any {
	return []any{into(u.ID[:]), &u.Email, &u.Opening, &u.Revoked, &u.Frozen}
}

func (s users) ByEmail(o meta.OrganizationKey, email string) (u meta.User, err error) {
	err = s.one("find user", selectUser+`WHERE organization = $1 AND email = $2 AND revoked = 0`, []any{o, email}, scanUser(&u)...)
	return u, err
}

func (s users) Get(o meta.OrganizationKey, users []id.User) ([]meta.User, error) {
	return each(s.session, "get users", byID(selectUser+`WHERE organization = $1`, "$2"), []any{o, bytesOf(users)}, users,
		func(rows pgx.Rows, u *meta.User) (id.User, error) {
			err := rows.Scan(scanUser(u)...)
			return u.ID, err
		})
}

// byID returns a query for the rows of a table whose ids are those of a
// parameter: one look into its index for each. Asked for any of the ids, the
// database may as well go through all rows of a workspace, as long as it has no
// statistics that say how many these are.
func byID(query, ids string) string {
	return `SELECT f.* FROM unnest(` + ids + `::bytea[]) AS a (id) CROSS JOIN LATERAL (` + query + ` AND id = a.id OFFSET 0) AS f`
}

// each asks for the rows of ids, and answers them in the order of the ids.
func each[K comparable, V any](s *session, what, query string, args []any, ids []K, scan func(pgx.Rows, *V) (K, error)) ([]V, error) {
	found := make([]V, len(ids))
	if len(ids) == 0 {
		return found, s.lost
	}
	rows := make(map[K]V, len(ids))
	if err := s.ask(what, query, args, func(r pgx.Rows) error {
		var v V
		k, err := scan(r, &v)
		rows[k] = v
		return err
	}); err != nil {
		return nil, err
	}
	for i, k := range ids {
		found[i] = rows[k]
	}
	return found, nil
}

func (s users) Deliver(o meta.OrganizationKey, deliveries []meta.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	devices, keys, sealed := make([][]byte, len(deliveries)), make([][]byte, len(deliveries)), make([][]byte, len(deliveries))
	for i := range deliveries {
		d := &deliveries[i]
		devices[i], keys[i], sealed[i] = d.Device[:], d.Key[:], blob(d.Sealed)
	}
	return s.change("deliver user key", `
		INSERT INTO deliveries (organization, device, key, sealed) SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::bytea[])`,
		[]any{o, devices, keys, sealed}, none)
}

func (s users) Delivery(o meta.OrganizationKey, device id.Device, key record.Digest) (meta.Delivery, error) {
	d := meta.Delivery{Device: device, Key: key}
	err := s.one("get user key", `SELECT sealed FROM deliveries WHERE organization = $1 AND device = $2 AND key = $3`,
		[]any{o, device[:], key[:]}, &d.Sealed)
	return d, err
}

func (s users) Manifest(o meta.OrganizationKey, user id.User) (version uint64, manifest []byte, err error) {
	err = s.one("get user manifest", `SELECT version, manifest FROM user_manifests WHERE organization = $1 AND owner = $2`,
		[]any{o, user[:]}, &version, &manifest)
	return version, manifest, err
}

func (s users) PutManifest(o meta.OrganizationKey, user id.User, version uint64, manifest []byte) error {
	const what = "put user manifest"
	query := `UPDATE user_manifests SET version = $3, manifest = $4 WHERE organization = $1 AND owner = $2 AND version = $3 - 1 RETURNING true`
	if version == 1 {
		query = `INSERT INTO user_manifests (organization, owner, version, manifest) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true`
	}
	written := false
	err := s.change(what, query, []any{o, user[:], int64(version), blob(manifest)}, func(rows pgx.Rows) error { return rows.Scan(&written) })
	if err == nil && !written {
		return fault.Errorf(fault.Stale, "%s: version %d does not follow the one that is there", what, version)
	}
	return err
}
