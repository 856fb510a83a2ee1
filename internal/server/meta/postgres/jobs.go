package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type turns struct{ *session }

func (s turns) Take(t meta.Turn, now, due int64) (taken bool, err error) {
	err = s.change("take turn", `
		INSERT INTO turns AS t (job, holder, until, done) VALUES ($1, $2, $3, 0)
		ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until = excluded.until
		WHERE (t.holder = excluded.holder OR t.until <= $4) AND t.done <= $5 RETURNING true`,
		[]any{t.Job, t.Holder[:], t.Until, now, due}, func(rows pgx.Rows) error { return rows.Scan(&taken) })
	return taken, err
}

func (s turns) Done(job string, holder id.Process, when int64) error {
	const what = "end turn"
	found := false
	err := s.change(what, `
		UPDATE turns SET until = 0, done = CASE WHEN $3::bigint = 0 THEN done ELSE $3 END WHERE job = $1 AND holder = $2 RETURNING true`,
		[]any{job, holder[:], when}, func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: another process has it", what)
	}
	return err
}

type leftovers struct{ *session }

// Settle leaves out what another transaction is looking at. A block that a
// commit marks at the same moment is kept, if the commit is first; else it is
// missing there.
func (s leftovers) Settle(added, now int64, limit int) (packs int, err error) {
	err = s.change("settle packs", `
		WITH due AS (
			SELECT organization, workspace, id FROM packs WHERE NOT settled AND added <= $1 ORDER BY added LIMIT $3 FOR UPDATE SKIP LOCKED
		), gone AS (
			DELETE FROM blocks b USING due d
			WHERE b.pack = d.id AND b.organization + 0 = d.organization AND b.workspace + 0 = d.workspace AND b.idx = 0 -- by pack, and by no other index
			RETURNING b.organization, b.workspace, b.pack, b.length
		), sums AS (
			SELECT organization, workspace, pack, count(*) AS blocks, sum(length) AS bytes FROM gone GROUP BY organization, workspace, pack
		)
		UPDATE packs p SET settled = true, live = p.live - coalesce(s.bytes, 0), emptied = CASE WHEN p.live = coalesce(s.bytes, 0) THEN $2::bigint ELSE 0 END
		FROM due d LEFT JOIN sums s ON s.organization = d.organization AND s.workspace = d.workspace AND s.pack = d.id
		WHERE p.organization = d.organization AND p.workspace = d.workspace AND p.id = d.id
		RETURNING p.organization, coalesce(s.blocks, 0), coalesce(s.bytes, 0)::bigint`,
		[]any{added, now, limit}, func(rows pgx.Rows) error {
			var key meta.OrganizationKey
			var blocks, bytes uint64
			if err := rows.Scan(&key, &blocks, &bytes); err != nil {
				return err
			}
			packs++
			counts := s.add(key)
			counts.Blocks -= blocks
			counts.BlockBytes -= bytes
			return nil
		})
	return packs, err
}

func (s leftovers) Emptied(since int64, after meta.Leftover, limit int) (found []meta.Leftover, err error) {
	err = s.ask("list empty packs", `
		SELECT p.organization, p.workspace, o.fingerprint, w.id, p.id, p.emptied FROM packs p
		JOIN organizations o ON o.key = p.organization
		JOIN workspaces w ON w.organization = p.organization AND w.number = p.workspace
		WHERE p.emptied > 0 AND p.emptied <= $1 AND (p.emptied, p.organization, p.workspace, p.id) > ($2, $3, $4, $5)
		ORDER BY p.emptied, p.organization, p.workspace, p.id LIMIT $6`,
		[]any{since, after.Emptied, after.Workspace.Organization, after.Workspace.Number, after.Key.Pack[:], limit},
		func(rows pgx.Rows) error {
			var l meta.Leftover
			err := rows.Scan(&l.Workspace.Organization, &l.Workspace.Number, orZero(l.Key.Organization[:]), into(l.Key.Workspace[:]), into(l.Key.Pack[:]), &l.Emptied)
			found = append(found, l)
			return err
		})
	return found, err
}

func (s leftovers) Remove(packs []meta.Leftover) error {
	n := len(packs)
	organizations, workspaces, ids := make([]int64, n), make([]int64, n), make([][]byte, n)
	for i := range packs {
		p := &packs[i]
		organizations[i], workspaces[i], ids[i] = int64(p.Workspace.Organization), p.Workspace.Number, p.Key.Pack[:]
	}
	return s.change("remove packs", `
		DELETE FROM packs p USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS d (organization, workspace, id)
		WHERE p.organization = d.organization AND p.workspace = d.workspace AND p.id = d.id AND p.emptied > 0 RETURNING p.organization`,
		[]any{organizations, workspaces, ids}, func(rows pgx.Rows) error {
			var key meta.OrganizationKey
			err := rows.Scan(&key)
			s.add(key).Packs--
			return err
		})
}

func (s leftovers) RemoveInvitations(expired int64, limit int) (n int, err error) {
	err = s.change("remove invitations", `
		WITH due AS (
			SELECT organization, token FROM invitations WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
		), heard AS (
			DELETE FROM messages m USING due d WHERE m.organization = d.organization AND m.token = d.token
		), tried AS (
			DELETE FROM attempts a USING due d WHERE a.organization = d.organization AND a.token = d.token
		)
		DELETE FROM invitations i USING due d WHERE i.organization = d.organization AND i.token = d.token RETURNING true`,
		[]any{expired, limit}, func(pgx.Rows) error { n++; return nil })
	return n, err
}
