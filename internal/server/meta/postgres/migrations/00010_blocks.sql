-- A pack's name is its own, so that this index needs to lead with nothing else.
-- One that leads with the workspace, as that of ids does, was taken for it as
-- long as there were no statistics, and read for all blocks of a workspace.

-- +goose Up
DROP INDEX blocks_by_pack;
CREATE INDEX blocks_by_pack ON blocks (pack);
