-- What is kept of the operator's tokens, of which one at a time is valid.

-- +goose Up
CREATE TABLE admin_tokens (
    id      bytea   PRIMARY KEY,
    hash    bytea   NOT NULL UNIQUE,
    created bigint  NOT NULL,
    valid   boolean UNIQUE, -- true or NULL
    revoked bigint  NOT NULL -- 0 while valid
);
