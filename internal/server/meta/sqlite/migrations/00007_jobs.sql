-- Whose turn it is at the jobs that processes share, and what these jobs look
-- for. A pack is settled once those of its blocks that no commit introduced
-- within a week are gone.

-- +goose Up
CREATE TABLE turns (
    job    TEXT    PRIMARY KEY,
    holder BLOB    NOT NULL,
    until  INTEGER NOT NULL,
    done   INTEGER NOT NULL -- when it was last done, or 0
) STRICT, WITHOUT ROWID;

ALTER TABLE packs ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE packs ADD COLUMN emptied INTEGER NOT NULL DEFAULT 0; -- since when it has no blocks, or 0

CREATE INDEX packs_unsettled ON packs (added) WHERE settled = 0;
CREATE INDEX packs_emptied ON packs (emptied, organization, workspace, id) WHERE emptied > 0;
CREATE INDEX blocks_by_pack ON blocks (organization, workspace, pack);
CREATE INDEX invitations_by_end ON invitations (expires);
