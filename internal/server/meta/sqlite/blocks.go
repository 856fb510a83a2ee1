package sqlite

import (
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type blocks struct{ *conn }

func (c blocks) Add(w meta.WorkspaceKey, p meta.Pack, blocks []meta.Block) (taken []meta.Block, err error) {
	const what = "add blocks"
	added, live := 0, int64(0)
	for i := range blocks {
		b := &blocks[i]
		n, err := c.exec(what, `
			INSERT INTO blocks (organization, workspace, id, pack, start, length, digest, idx) VALUES (?, ?, ?, ?, ?, ?, ?, 0)
			ON CONFLICT DO NOTHING`,
			w.Organization, w.Number, b.ID[:], p.ID[:], b.Offset, b.Length, b.Digest[:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			there, err := c.Locate(w, []id.Block{b.ID})
			if err != nil {
				return nil, err
			}
			taken = append(taken, there...)
			continue
		}
		added++
		live += int64(b.Length)
	}
	if _, err := c.exec(what, `INSERT INTO packs (organization, workspace, id, size, live, added) VALUES (?, ?, ?, ?, ?, ?)`,
		w.Organization, w.Number, p.ID[:], p.Size, live, p.Added); err != nil {
		return nil, err
	}
	return taken, c.change(what, `
		UPDATE organizations SET packs = packs + 1, blocks = blocks + ?, block_bytes = block_bytes + ? WHERE key = ?`,
		added, live, w.Organization)
}

func (c blocks) Locate(w meta.WorkspaceKey, blocks []id.Block) ([]meta.Block, error) {
	found := make([]meta.Block, len(blocks))
	for i := range blocks {
		b := &found[i]
		there, err := c.any("locate blocks", `
			SELECT pack, start, length, digest, idx FROM blocks WHERE organization = ? AND workspace = ? AND id = ?`,
			[]any{w.Organization, w.Number, blocks[i][:]}, into(b.Pack[:]), &b.Offset, &b.Length, into(b.Digest[:]), &b.Index)
		if err != nil {
			return nil, err
		}
		if there {
			b.ID = blocks[i]
		}
	}
	return found, nil
}

func (c blocks) Mark(w meta.WorkspaceKey, index uint64, blocks []id.Block) (missing []id.Block, err error) {
	for i := range blocks {
		n, err := c.exec("mark blocks", `
			UPDATE blocks SET idx = iif(idx = 0, ?, idx) WHERE organization = ? AND workspace = ? AND id = ?`,
			index, w.Organization, w.Number, blocks[i][:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			missing = append(missing, blocks[i])
		}
	}
	return missing, nil
}
