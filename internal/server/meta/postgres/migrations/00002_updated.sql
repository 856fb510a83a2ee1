-- When rows last moved, so that a process finds out what others did.

-- +goose Up
ALTER TABLE organizations ADD COLUMN updated bigint NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN updated bigint NOT NULL DEFAULT 0;

CREATE INDEX organizations_by_update ON organizations (updated);
CREATE INDEX workspaces_by_update ON workspaces (updated);
CREATE INDEX members_by_update ON members (updated);
