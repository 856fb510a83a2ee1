package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type turns struct{ *conn }

func (c turns) Take(t meta.Turn, now, due int64) (bool, error) {
	n, err := c.exec("take turn", `
		INSERT INTO turns AS t (job, holder, until, done) VALUES (?1, ?2, ?3, 0)
		ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until = excluded.until
		WHERE (t.holder = excluded.holder OR t.until <= ?4) AND t.done <= ?5`, t.Job, t.Holder[:], t.Until, now, due)
	return n > 0, err
}

func (c turns) Done(job string, holder id.Process, when int64) error {
	return c.change("end turn", `UPDATE turns SET until = 0, done = iif(?1 = 0, done, ?1) WHERE job = ?2 AND holder = ?3`, when, job, holder[:])
}

type leftovers struct{ *conn }

// packRow names a pack's row.
type packRow struct {
	organization meta.OrganizationKey
	workspace    int64
	id           id.Pack
}

func (c leftovers) Settle(added, now int64, limit int) (int, error) {
	var due []packRow
	if err := c.each("settle packs", `SELECT organization, workspace, id FROM packs WHERE settled = 0 AND added <= ? ORDER BY added LIMIT ?`,
		[]any{added, limit}, func(rows *sql.Rows) (bool, error) {
			var p packRow
			err := rows.Scan(&p.organization, &p.workspace, into(p.id[:]))
			due = append(due, p)
			return true, err
		}); err != nil {
		return 0, err
	}
	for _, p := range due {
		if err := c.settle(p, now); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (c leftovers) settle(p packRow, now int64) error {
	const what = "settle packs"
	var blocks, bytes int64
	if err := c.one(what, `SELECT count(*), coalesce(sum(length), 0) FROM blocks WHERE organization = ? AND workspace = ? AND pack = ? AND idx = 0`,
		[]any{p.organization, p.workspace, p.id[:]}, &blocks, &bytes); err != nil {
		return err
	}
	if _, err := c.exec(what, `DELETE FROM blocks WHERE organization = ? AND workspace = ? AND pack = ? AND idx = 0`,
		p.organization, p.workspace, p.id[:]); err != nil {
		return err
	}
	if err := c.change(what, `
		UPDATE packs SET settled = 1, live = live - ?1, emptied = iif(live = ?1, ?2, 0) WHERE organization = ?3 AND workspace = ?4 AND id = ?5`,
		bytes, now, p.organization, p.workspace, p.id[:]); err != nil {
		return err
	}
	return c.change(what, `UPDATE organizations SET blocks = blocks - ?, block_bytes = block_bytes - ? WHERE key = ?`, blocks, bytes, p.organization)
}

func (c leftovers) Emptied(since int64, after meta.Leftover, limit int) (found []meta.Leftover, err error) {
	err = c.each("list empty packs", `
		SELECT p.organization, p.workspace, coalesce(o.fingerprint, zeroblob(32)), w.id, p.id, p.emptied FROM packs AS p
		JOIN organizations o ON o.key = p.organization JOIN workspaces w ON w.number = p.workspace
		WHERE p.emptied > 0 AND p.emptied <= ? AND (p.emptied, p.organization, p.workspace, p.id) > (?, ?, ?, ?)
		ORDER BY p.emptied, p.organization, p.workspace, p.id LIMIT ?`,
		[]any{since, after.Emptied, after.Workspace.Organization, after.Workspace.Number, after.Key.Pack[:], limit},
		func(rows *sql.Rows) (bool, error) {
			var l meta.Leftover
			err := rows.Scan(&l.Workspace.Organization, &l.Workspace.Number, into(l.Key.Organization[:]), into(l.Key.Workspace[:]), into(l.Key.Pack[:]), &l.Emptied)
			found = append(found, l)
			return true, err
		})
	return found, err
}

func (c leftovers) Remove(packs []meta.Leftover) error {
	const what = "remove packs"
	for i := range packs {
		p := &packs[i]
		n, err := c.exec(what, `DELETE FROM packs WHERE organization = ? AND workspace = ? AND id = ? AND emptied > 0`,
			p.Workspace.Organization, p.Workspace.Number, p.Key.Pack[:])
		if err != nil {
			return err
		}
		if n == 0 { // the pack, perhaps with its organization, is gone
			continue
		}
		if err := c.change(what, `UPDATE organizations SET packs = packs - ? WHERE key = ?`, n, p.Workspace.Organization); err != nil {
			return err
		}
	}
	return nil
}

func (c leftovers) RemoveInvitations(expired int64, limit int) (int, error) {
	const what = "remove invitations"
	type invitation struct {
		organization meta.OrganizationKey
		token        meta.Token
	}
	var due []invitation
	if err := c.each(what, `SELECT organization, token FROM invitations WHERE expires <= ? ORDER BY expires LIMIT ?`,
		[]any{expired, limit}, func(rows *sql.Rows) (bool, error) {
			var i invitation
			err := rows.Scan(&i.organization, into(i.token[:]))
			due = append(due, i)
			return true, err
		}); err != nil {
		return 0, err
	}
	for _, i := range due {
		for _, query := range []string{
			`DELETE FROM messages WHERE organization = ? AND token = ?`,
			`DELETE FROM attempts WHERE organization = ? AND token = ?`,
			`DELETE FROM invitations WHERE organization = ? AND token = ?`,
		} {
			if _, err := c.exec(what, query, i.organization, i.token[:]); err != nil {
				return 0, err
			}
		}
	}
	return len(due), nil
}
