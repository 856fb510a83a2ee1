package postgres

import (
	"bytes"
	"slices"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type blocks struct{ *session }

const selectBlock = `SELECT id, pack, start, length, digest, idx FROM blocks `

func scanBlock(b *meta.Block) []any {
	return []any{into(b.ID[:]), into(b.Pack[:]), &b.Offset, &b.Length, into(b.Digest[:]), &b.Index}
}

// Add puts the blocks in the order of their ids, so that two uploads of the
// same ones wait for each other only one way.
func (s blocks) Add(w meta.WorkspaceKey, p meta.Pack, blocks []meta.Block) (taken []meta.Block, err error) {
	const what = "add blocks"
	sorted := slices.SortedFunc(slices.Values(blocks), func(a, b meta.Block) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	n := len(sorted)
	ids, digests, starts, lengths := make([][]byte, n), make([][]byte, n), make([]int64, n), make([]int64, n)
	for i := range sorted {
		b := &sorted[i]
		ids[i], digests[i], starts[i], lengths[i] = b.ID[:], b.Digest[:], int64(b.Offset), int64(b.Length)
	}
	var added, live uint64
	if err := s.change(what, `
		WITH added AS (
			INSERT INTO blocks (organization, workspace, id, pack, start, length, digest, idx)
			SELECT $1, $2, id, $3, start, length, digest, 0
			FROM unnest($4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[]) AS b (id, start, length, digest)
			ON CONFLICT DO NOTHING RETURNING length
		)
		INSERT INTO packs (organization, workspace, id, size, live, added)
		SELECT $1, $2, $3, $8, coalesce(sum(length), 0), $9 FROM added RETURNING live, (SELECT count(*) FROM added)`,
		[]any{w.Organization, w.Number, p.ID[:], ids, starts, lengths, digests, p.Size, p.Added},
		func(rows pgx.Rows) error { return rows.Scan(&live, &added) }); err != nil {
		return nil, err
	}
	counts := s.add(w.Organization)
	counts.Packs++
	counts.Blocks += added
	counts.BlockBytes += live
	if added == uint64(n) {
		return nil, nil
	}
	// What another transaction has added meanwhile is seen by a statement of its own.
	err = s.ask(what, byID(selectBlock+`WHERE organization = $1 AND workspace = $2 AND pack <> $4`, "$3"),
		[]any{w.Organization, w.Number, ids, p.ID[:]},
		func(rows pgx.Rows) error {
			var b meta.Block
			err := rows.Scan(scanBlock(&b)...)
			taken = append(taken, b)
			return err
		})
	return taken, err
}

func (s blocks) Locate(w meta.WorkspaceKey, blocks []id.Block) ([]meta.Block, error) {
	return each(s.session, "locate blocks", byID(selectBlock+`WHERE organization = $1 AND workspace = $2`, "$3"),
		[]any{w.Organization, w.Number, bytesOf(blocks)}, blocks,
		func(rows pgx.Rows, b *meta.Block) (id.Block, error) {
			err := rows.Scan(scanBlock(b)...)
			return b.ID, err
		})
}

// Mark changes only what no commit has introduced, by where it lies: nobody but
// another commit, which waits for the workspace, changes a row. A block that is removed at
// the same moment counts as missing: the change waits for the removal, and
// then does not find it.
func (s blocks) Mark(w meta.WorkspaceKey, index uint64, blocks []id.Block) (missing []id.Block, err error) {
	if len(blocks) == 0 {
		return nil, s.lost
	}
	err = s.change("mark blocks", `
		WITH asked AS MATERIALIZED (
			SELECT a.id, a.place, b.at, b.idx FROM unnest($4::bytea[]) WITH ORDINALITY AS a (id, place)
			LEFT JOIN LATERAL (SELECT ctid AS at, idx FROM blocks WHERE organization = $1 AND workspace = $2 AND id = a.id OFFSET 0) AS b ON true
		), marked AS (
			UPDATE blocks SET idx = $3 WHERE ctid = ANY (ARRAY(SELECT at FROM asked WHERE idx = 0)) AND idx = 0 RETURNING id
		)
		SELECT id FROM asked WHERE idx IS NULL OR idx = 0 AND id NOT IN (SELECT id FROM marked) ORDER BY place`,
		[]any{w.Organization, w.Number, index, bytesOf(blocks)},
		func(rows pgx.Rows) error {
			var b id.Block
			err := rows.Scan(into(b[:]))
			missing = append(missing, b)
			return err
		})
	return missing, err
}
