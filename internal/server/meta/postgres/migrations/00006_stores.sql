-- What is done with an object store, and how it is known again; and the work on
-- all of them that goes on over restarts.

-- +goose Up
ALTER TABLE stores ADD COLUMN state bigint NOT NULL DEFAULT 0;
ALTER TABLE stores ADD COLUMN url text NOT NULL DEFAULT '';
ALTER TABLE stores ADD COLUMN marker bytea NOT NULL DEFAULT '\x';

CREATE TABLE store_jobs (
    name  text NOT NULL PRIMARY KEY,
    state bytea NOT NULL
);

CREATE INDEX repairs_by_store ON repairs (store);
