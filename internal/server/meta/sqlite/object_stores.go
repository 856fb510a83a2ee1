package sqlite

import (
	"database/sql"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

type objectStores struct{ *conn }

func (c objectStores) Register(name string) (s meta.StoreID, err error) {
	const what, query = "register store", `SELECT id FROM stores WHERE name = ?`
	found, err := c.any(what, query, []any{name}, &s)
	if err == nil && !found {
		var number int64
		number, err = c.insert(what, `INSERT INTO stores (name) VALUES (?)`, name)
		s = meta.StoreID(number)
	}
	if err != nil || s != 1 {
		return s, err
	}
	_, err = c.exec(what, `
		INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums)
		SELECT o.fingerprint, w.id, p.id, p.size, 1, 0, x'0000000000000001', x''
		FROM packs p
		JOIN workspaces w ON w.organization = p.organization AND w.number = p.workspace
		JOIN organizations o ON o.key = p.organization
		WHERE o.fingerprint IS NOT NULL
		ON CONFLICT DO NOTHING`)
	return s, err
}

func (c objectStores) List() (all []meta.ObjectStore, err error) {
	err = c.each("list stores", `SELECT id, name, state, url, marker FROM stores ORDER BY id`, nil, func(rows *sql.Rows) (bool, error) {
		var s meta.ObjectStore
		err := rows.Scan(&s.ID, &s.Name, &s.State, &s.URL, &s.Marker)
		all = append(all, s)
		return true, err
	})
	return all, err
}

func (c objectStores) Set(s meta.ObjectStore) error {
	return c.change("change store", `UPDATE stores SET state = ?, url = ?, marker = ? WHERE id = ?`, s.State, s.URL, blob(s.Marker), s.ID)
}

func (c objectStores) Forget(s meta.StoreID) error {
	_, err := c.exec("forget repairs", `DELETE FROM repairs WHERE store = ?`, s)
	return err
}

func (c objectStores) Repairs() (map[meta.StoreID]int64, error) {
	all := map[meta.StoreID]int64{}
	err := c.each("count repairs", `SELECT store, count(*) FROM repairs GROUP BY store`, nil, func(rows *sql.Rows) (bool, error) {
		var s meta.StoreID
		var n int64
		err := rows.Scan(&s, &n)
		all[s] = n
		return true, err
	})
	return all, err
}

func (c objectStores) Uses(key meta.PackKey) (bool, error) {
	var n int64
	return c.any("find pack", `
		SELECT 1 FROM organizations o
		JOIN workspaces w ON w.organization = o.key AND w.id = ?
		JOIN packs p ON p.organization = o.key AND p.workspace = w.number AND p.id = ?
		WHERE o.fingerprint = ?`,
		[]any{key.Workspace[:], key.Pack[:], key.Organization[:]}, &n)
}

func (c objectStores) Job(name string) (state []byte, err error) {
	_, err = c.any("find job", `SELECT state FROM store_jobs WHERE name = ?`, []any{name}, &state)
	return state, err
}

func (c objectStores) SetJob(name string, was, is []byte) error {
	const what = "change job"
	var n int64
	var err error
	if was == nil {
		n, err = c.exec(what, `INSERT INTO store_jobs (name, state) VALUES (?, ?) ON CONFLICT DO NOTHING`, name, blob(is))
	} else {
		n, err = c.exec(what, `UPDATE store_jobs SET state = ? WHERE name = ? AND state = ?`, blob(is), name, was)
	}
	if err == nil && n == 0 {
		return fault.Errorf(fault.Stale, "%s: it is another one now", what)
	}
	return err
}
