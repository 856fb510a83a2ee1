-- Users whom the operator has suspended, and how many an organization has.

-- +goose Up
ALTER TABLE organizations ADD COLUMN frozen bigint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN frozen bigint NOT NULL DEFAULT 0;
