package postgres

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5"

	"parsec/internal/server/meta"
)

type placements struct{ *session }

func (s placements) Add(p meta.Placement) (meta.Placement, error) {
	added := false
	err := s.change("add placement", `
		INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT DO NOTHING RETURNING true`,
		[]any{p.Key.Organization[:], p.Key.Workspace[:], p.Key.Pack[:], p.Size, p.Data, p.Parity, packStores(p.Stores), blob(p.Sums)},
		func(rows pgx.Rows) error { return rows.Scan(&added) })
	if err != nil || added {
		return p, err
	}
	return s.Get(p.Key)
}

const selectPlacement = `SELECT organization, workspace, pack, size, data, parity, stores, sums FROM placements `

func scanPlacement(p *meta.Placement, stores *[]byte) []any {
	return []any{into(p.Key.Organization[:]), into(p.Key.Workspace[:]), into(p.Key.Pack[:]), &p.Size, &p.Data, &p.Parity, stores, &p.Sums}
}

func (s placements) Get(key meta.PackKey) (p meta.Placement, err error) {
	var stores []byte
	err = s.one("find placement", selectPlacement+`WHERE organization = $1 AND workspace = $2 AND pack = $3`,
		[]any{key.Organization[:], key.Workspace[:], key.Pack[:]}, scanPlacement(&p, &stores)...)
	p.Stores = unpackStores(stores)
	return p, err
}

func (s placements) Move(before []meta.StoreID, p meta.Placement) (moved bool, err error) {
	err = s.change("move placement", `
		UPDATE placements SET parity = $1, stores = $2, sums = $3
		WHERE organization = $4 AND workspace = $5 AND pack = $6 AND stores = $7 RETURNING true`,
		[]any{p.Parity, packStores(p.Stores), blob(p.Sums), p.Key.Organization[:], p.Key.Workspace[:], p.Key.Pack[:], packStores(before)},
		func(rows pgx.Rows) error { return rows.Scan(&moved) })
	return moved, err
}

func (s placements) Remove(key meta.PackKey) error {
	return s.put("remove placement", `DELETE FROM placements WHERE organization = $1 AND workspace = $2 AND pack = $3`,
		key.Organization[:], key.Workspace[:], key.Pack[:])
}

func (s placements) List(after meta.PackKey, limit int) (found []meta.Placement, err error) {
	err = s.ask("list placements", selectPlacement+`
		WHERE (organization, workspace, pack) > ($1, $2, $3) ORDER BY organization, workspace, pack LIMIT $4`,
		[]any{after.Organization[:], after.Workspace[:], after.Pack[:], limit},
		func(rows pgx.Rows) error {
			var p meta.Placement
			var stores []byte
			err := rows.Scan(scanPlacement(&p, &stores)...)
			p.Stores = unpackStores(stores)
			found = append(found, p)
			return err
		})
	return found, err
}

func (s placements) Queue(repairs []meta.Repair) error {
	n := len(repairs)
	organizations, workspaces, packs, stores := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([]int64, n)
	for i := range repairs {
		r := &repairs[i]
		organizations[i], workspaces[i], packs[i], stores[i] = r.Key.Organization[:], r.Key.Workspace[:], r.Key.Pack[:], int64(r.Store)
	}
	return s.put("queue repair", `
		INSERT INTO repairs (organization, workspace, pack, store)
		SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) ON CONFLICT DO NOTHING`,
		organizations, workspaces, packs, stores)
}

func (s placements) Queued(after meta.Repair, limit int) (found []meta.Repair, err error) {
	err = s.ask("list repairs", `
		SELECT organization, workspace, pack, store FROM repairs
		WHERE (organization, workspace, pack, store) > ($1, $2, $3, $4) ORDER BY organization, workspace, pack, store LIMIT $5`,
		[]any{after.Key.Organization[:], after.Key.Workspace[:], after.Key.Pack[:], after.Store, limit},
		func(rows pgx.Rows) error {
			var r meta.Repair
			err := rows.Scan(into(r.Key.Organization[:]), into(r.Key.Workspace[:]), into(r.Key.Pack[:]), &r.Store)
			found = append(found, r)
			return err
		})
	return found, err
}

func (s placements) Done(r meta.Repair) error {
	return s.put("end repair", `DELETE FROM repairs WHERE organization = $1 AND workspace = $2 AND pack = $3 AND store = $4`,
		r.Key.Organization[:], r.Key.Workspace[:], r.Key.Pack[:], r.Store)
}

// packStores returns the ids in one column.
func packStores(ids []meta.StoreID) []byte {
	column := []byte{}
	for _, s := range ids {
		column = binary.BigEndian.AppendUint64(column, uint64(s))
	}
	return column
}

func unpackStores(column []byte) (ids []meta.StoreID) {
	for ; len(column) >= 8; column = column[8:] {
		ids = append(ids, meta.StoreID(binary.BigEndian.Uint64(column)))
	}
	return ids
}
