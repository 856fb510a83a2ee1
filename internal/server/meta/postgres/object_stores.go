package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

type objectStores struct{ *session }

// Register sets what is there to itself where the name is taken, so that of
// two processes that start at once the second sees what the first gave.
func (s objectStores) Register(name string) (store meta.StoreID, err error) {
	err = s.change("register store", `
		WITH there AS (SELECT id FROM stores WHERE name = $1), made AS (
			INSERT INTO stores (name) SELECT $1 WHERE NOT EXISTS (SELECT FROM there)
			ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
		)
		SELECT id FROM there UNION ALL SELECT id FROM made`,
		[]any{name}, func(rows pgx.Rows) error { return rows.Scan(&store) })
	if err != nil || store != 1 {
		return store, err
	}
	return store, s.put("register store", `
		INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums)
		SELECT o.fingerprint, w.id, p.id, p.size, 1, 0, '\x0000000000000001', '\x'
		FROM packs p
		JOIN workspaces w ON w.organization = p.organization AND w.number = p.workspace
		JOIN organizations o ON o.key = p.organization
		WHERE o.fingerprint IS NOT NULL
		ON CONFLICT DO NOTHING`)
}

func (s objectStores) List() (all []meta.ObjectStore, err error) {
	err = s.ask("list stores", `SELECT id, name, state, url, marker FROM stores ORDER BY id`, nil, func(rows pgx.Rows) error {
		var o meta.ObjectStore
		err := rows.Scan(&o.ID, &o.Name, &o.State, &o.URL, &o.Marker)
		all = append(all, o)
		return err
	})
	return all, err
}

func (s objectStores) Set(o meta.ObjectStore) error {
	return s.must("change store", `UPDATE stores SET state = $1, url = $2, marker = $3 WHERE id = $4 RETURNING true`, fault.NotFound,
		o.State, o.URL, blob(o.Marker), o.ID)
}

// must executes a query that has to change a row, or fails with a kind.
func (s objectStores) must(what, query string, kind fault.Kind, args ...any) error {
	found := false
	err := s.change(what, query, args, func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(kind, "%s: there is none such", what)
	}
	return err
}

func (s objectStores) Forget(store meta.StoreID) error {
	return s.put("forget repairs", `DELETE FROM repairs WHERE store = $1`, store)
}

func (s objectStores) Repairs() (map[meta.StoreID]int64, error) {
	all := map[meta.StoreID]int64{}
	err := s.ask("count repairs", `SELECT store, count(*) FROM repairs GROUP BY store`, nil, func(rows pgx.Rows) error {
		var store meta.StoreID
		var n int64
		err := rows.Scan(&store, &n)
		all[store] = n
		return err
	})
	return all, err
}

func (s objectStores) Uses(key meta.PackKey) (bool, error) {
	var found bool
	return s.any("find pack", `
		SELECT true FROM organizations o
		JOIN workspaces w ON w.organization = o.key AND w.id = $1
		JOIN packs p ON p.organization = o.key AND p.workspace = w.number AND p.id = $2
		WHERE o.fingerprint = $3`,
		[]any{key.Workspace[:], key.Pack[:], key.Organization[:]}, &found)
}

func (s objectStores) Job(name string) (state []byte, err error) {
	_, err = s.any("find job", `SELECT state FROM store_jobs WHERE name = $1`, []any{name}, &state)
	return state, err
}

func (s objectStores) SetJob(name string, was, is []byte) error {
	const what = "change job"
	if was == nil {
		return s.must(what, `INSERT INTO store_jobs (name, state) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true`, fault.Stale, name, blob(is))
	}
	return s.must(what, `UPDATE store_jobs SET state = $1 WHERE name = $2 AND state = $3 RETURNING true`, fault.Stale, blob(is), name, was)
}
