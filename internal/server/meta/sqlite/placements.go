package sqlite

import (
	"database/sql"
	"encoding/binary"

	"parsec/internal/server/meta"
)

type placements struct{ *conn }

func (c placements) Add(p meta.Placement) (meta.Placement, error) {
	n, err := c.exec("add placement", `
		INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`,
		p.Key.Organization[:], p.Key.Workspace[:], p.Key.Pack[:], p.Size, p.Data, p.Parity, packStores(p.Stores), blob(p.Sums))
	if err != nil || n == 1 {
		return p, err
	}
	return c.Get(p.Key)
}

const selectPlacement = `SELECT organization, workspace, pack, size, data, parity, stores, sums FROM placements `

func scanPlacement(p *meta.Placement, stores *[]byte) []any {
	return []any{into(p.Key.Organization[:]), into(p.Key.Workspace[:]), into(p.Key.Pack[:]), &p.Size, &p.Data, &p.Parity, stores, &p.Sums}
}

func (c placements) Get(key meta.PackKey) (p meta.Placement, err error) {
	var stores []byte
	err = c.one("find placement", selectPlacement+`WHERE organization = ? AND workspace = ? AND pack = ?`,
		[]any{key.Organization[:], key.Workspace[:], key.Pack[:]}, scanPlacement(&p, &stores)...)
	p.Stores = unpackStores(stores)
	return p, err
}

func (c placements) Move(before []meta.StoreID, p meta.Placement) (bool, error) {
	n, err := c.exec("move placement", `
		UPDATE placements SET parity = ?, stores = ?, sums = ? WHERE organization = ? AND workspace = ? AND pack = ? AND stores = ?`,
		p.Parity, packStores(p.Stores), blob(p.Sums), p.Key.Organization[:], p.Key.Workspace[:], p.Key.Pack[:], packStores(before))
	return n == 1, err
}

func (c placements) Remove(key meta.PackKey) error {
	_, err := c.exec("remove placement", `DELETE FROM placements WHERE organization = ? AND workspace = ? AND pack = ?`,
		key.Organization[:], key.Workspace[:], key.Pack[:])
	return err
}

func (c placements) List(after meta.PackKey, limit int) (found []meta.Placement, err error) {
	err = c.each("list placements", selectPlacement+`
		WHERE (organization, workspace, pack) > (?, ?, ?) ORDER BY organization, workspace, pack LIMIT ?`,
		[]any{after.Organization[:], after.Workspace[:], after.Pack[:], limit},
		func(rows *sql.Rows) (bool, error) {
			var p meta.Placement
			var stores []byte
			err := rows.Scan(scanPlacement(&p, &stores)...)
			p.Stores = unpackStores(stores)
			found = append(found, p)
			return true, err
		})
	return found, err
}

func (c placements) Queue(repairs []meta.Repair) error {
	for i := range repairs {
		r := &repairs[i]
		if _, err := c.exec("queue repair", `
			INSERT INTO repairs (organization, workspace, pack, store) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			r.Key.Organization[:], r.Key.Workspace[:], r.Key.Pack[:], r.Store); err != nil {
			return err
		}
	}
	return nil
}

func (c placements) Queued(after meta.Repair, limit int) (found []meta.Repair, err error) {
	err = c.each("list repairs", `
		SELECT organization, workspace, pack, store FROM repairs
		WHERE (organization, workspace, pack, store) > (?, ?, ?, ?) ORDER BY organization, workspace, pack, store LIMIT ?`,
		[]any{after.Key.Organization[:], after.Key.Workspace[:], after.Key.Pack[:], after.Store, limit},
		func(rows *sql.Rows) (bool, error) {
			var r meta.Repair
			err := rows.Scan(into(r.Key.Organization[:]), into(r.Key.Workspace[:]), into(r.Key.Pack[:]), &r.Store)
			found = append(found, r)
			return true, err
		})
	return found, err
}

func (c placements) Done(r meta.Repair) error {
	_, err := c.exec("end repair", `DELETE FROM repairs WHERE organization = ? AND workspace = ? AND pack = ? AND store = ?`,
		r.Key.Organization[:], r.Key.Workspace[:], r.Key.Pack[:], r.Store)
	return err
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
