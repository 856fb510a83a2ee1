-- The trail of administrative acts, which nothing takes from or changes.

-- +goose Up
CREATE TABLE audit (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      bigint NOT NULL,
    act     bytea  NOT NULL,
    token   bytea  NOT NULL,
    what    text   NOT NULL,
    subject text   NOT NULL,
    outcome text   NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION parsec_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail can only be added to';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION parsec_keep();
