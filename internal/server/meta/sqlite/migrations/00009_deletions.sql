-- Organizations that the operator deleted, until nothing is left of them.

-- +goose Up
ALTER TABLE organizations ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0; -- since when, or 0
ALTER TABLE organizations ADD COLUMN problem TEXT NOT NULL DEFAULT ''; -- what last kept it from going

CREATE INDEX organizations_deleting ON organizations (key) WHERE deleting > 0;
