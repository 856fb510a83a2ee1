-- The trail of administrative acts, which nothing takes from or changes.

-- +goose Up
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    act     BLOB    NOT NULL,
    token   BLOB    NOT NULL,
    what    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    outcome TEXT    NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail can only be added to');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail can only be added to');
END;
-- +goose StatementEnd
