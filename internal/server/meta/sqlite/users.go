package sqlite

import (
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

type users struct{ *conn }

func (c users) Add(o meta.OrganizationKey, u meta.User) error {
	const what = "add user"
	if _, err := c.exec(what, `INSERT INTO users (organization, id, email, opening, revoked) VALUES (?, ?, ?, ?, ?)`,
		o, u.ID[:], u.Email, blob(u.Opening), u.Revoked); err != nil {
		return err
	}
	return c.change(what, `UPDATE organizations SET users = users + 1, active_users = active_users + ? WHERE key = ?`,
		u.Revoked == 0, o)
}

func (c users) Revoke(o meta.OrganizationKey, user id.User, when int64) error {
	const what = "revoke user"
	n, err := c.exec(what, `UPDATE users SET revoked = ? WHERE organization = ? AND id = ? AND revoked = 0`, when, o, user[:])
	if err != nil {
		return err
	}
	if n == 0 {
		var was int64
		return c.one(what, `SELECT revoked FROM users WHERE organization = ? AND id = ?`, []any{o, user[:]}, &was)
	}
	return c.change(what, `UPDATE organizations SET active_users = active_users - 1 WHERE key = ?`, o)
}

const selectUser = `SELECT id, email, opening, revoked, frozen FROM users `

func scanUser(u *meta.User) []any {
	return []any{into(u.ID[:]), &u.Email, &u.Opening, &u.Revoked, &u.Frozen}
}

func (c users) ByEmail(o meta.OrganizationKey, email string) (u meta.User, err error) {
	err = c.one("find user", selectUser+`WHERE organization = ? AND email = ? AND revoked = 0`, []any{o, email}, scanUser(&u)...)
	return u, err
}

func (c users) Get(o meta.OrganizationKey, users []id.User) ([]meta.User, error) {
	found := make([]meta.User, len(users))
	for i, user := range users {
		if _, err := c.any("get users", selectUser+`WHERE organization = ? AND id = ?`, []any{o, user[:]}, scanUser(&found[i])...); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (c users) Deliver(o meta.OrganizationKey, deliveries []meta.Delivery) error {
	for _, d := range deliveries {
		if _, err := c.exec("deliver user key", `INSERT INTO deliveries (organization, device, key, sealed) VALUES (?, ?, ?, ?)`,
			o, d.Device[:], d.Key[:], blob(d.Sealed)); err != nil {
			return err
		}
	}
	return nil
}

func (c users) Delivery(o meta.OrganizationKey, device id.Device, key record.Digest) (meta.Delivery, error) {
	d := meta.Delivery{Device: device, Key: key}
	err := c.one("get user key", `SELECT sealed FROM deliveries WHERE organization = ? AND device = ? AND key = ?`,
		[]any{o, device[:], key[:]}, &d.Sealed)
	return d, err
}

func (c users) Manifest(o meta.OrganizationKey, user id.User) (version uint64, manifest []byte, err error) {
	err = c.one("get user manifest", `SELECT version, manifest FROM user_manifests WHERE organization = ? AND user = ?`,
		[]any{o, user[:]}, &version, &manifest)
	return version, manifest, err
}

func (c users) PutManifest(o meta.OrganizationKey, user id.User, version uint64, manifest []byte) error {
	const what = "put user manifest"
	n, err := c.exec(what, `
		INSERT INTO user_manifests (organization, user, version, manifest)
		SELECT ?1, ?2, ?3, ?4
		WHERE ?3 = 1 OR EXISTS (SELECT 1 FROM user_manifests WHERE organization = ?1 AND user = ?2 AND version = ?3 - 1)
		ON CONFLICT DO UPDATE SET version = ?3, manifest = ?4 WHERE version = ?3 - 1`,
		o, user[:], version, blob(manifest))
	if err == nil && n == 0 {
		return fault.Errorf(fault.Stale, "%s: version %d does not follow the one that is there", what, version)
	}
	return err
}
