package postgres

import (
	"parsec/internal/server/meta"
)

// add returns what an organization's counters change by in this transaction.
// Numbers that go down wrap around, and are read as signed.
func (s *session) add(key meta.OrganizationKey) *meta.Stats {
	if s.counts == nil {
		s.counts = make(map[meta.OrganizationKey]*meta.Stats)
	}
	if s.counts[key] == nil {
		s.counts[key] = new(meta.Stats)
	}
	return s.counts[key]
}

// count puts off the writing of the counters: to a row that nobody holds, or
// else to a new one.
func (s *session) count() {
	for key, d := range s.counts {
		_ = s.put("count", `
			WITH free AS (
				SELECT shard FROM counters WHERE organization = $1 ORDER BY shard LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
			), added AS (
				UPDATE counters c SET users = c.users + $2, active_users = c.active_users + $3, workspaces = c.workspaces + $4,
					records = c.records + $5, manifests = c.manifests + $6, manifest_bytes = c.manifest_bytes + $7,
					blocks = c.blocks + $8, block_bytes = c.block_bytes + $9, packs = c.packs + $10
				FROM free WHERE c.organization = $1 AND c.shard = free.shard RETURNING 1
			)
			INSERT INTO counters (organization, users, active_users, workspaces, records, manifests, manifest_bytes, blocks, block_bytes, packs)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT FROM added)`,
			key, int64(d.Users), int64(d.ActiveUsers), int64(d.Workspaces), int64(d.Records), int64(d.Manifests), int64(d.ManifestBytes),
			int64(d.Blocks), int64(d.BlockBytes), int64(d.Packs)) // which fails where lost says so already
	}
	s.counts = nil
}
