-- What is done with an object store, and how it is known again; and the work on
-- all of them that goes on over restarts.

-- +goose Up
ALTER TABLE stores ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stores ADD COLUMN url TEXT NOT NULL DEFAULT '';
ALTER TABLE stores ADD COLUMN marker BLOB NOT NULL DEFAULT x'';

CREATE TABLE store_jobs (
    name  TEXT NOT NULL PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX repairs_by_store ON repairs (store);
