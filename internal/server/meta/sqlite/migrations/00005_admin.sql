-- What is kept of the operator's tokens, of which one at a time is valid.

-- +goose Up
CREATE TABLE admin_tokens (
    id      BLOB    PRIMARY KEY,
    hash    BLOB    NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    valid   INTEGER UNIQUE, -- 1 or NULL
    revoked INTEGER NOT NULL -- 0 while valid
) STRICT;
