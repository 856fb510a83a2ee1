-- How packs lie in the object stores. Those of before lie whole in the first
-- store, the one that is registered first, and have no checksums.
--
-- organization is the fingerprint here: the stores of packs know no keys.

-- +goose Up
CREATE TABLE stores (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text   NOT NULL UNIQUE
);

CREATE TABLE placements (
    organization bytea  NOT NULL,
    workspace    bytea  NOT NULL,
    pack         bytea  NOT NULL,
    size         bigint NOT NULL,
    data         bigint NOT NULL,
    parity       bigint NOT NULL,
    stores       bytea  NOT NULL, -- the id of each, in 8 bytes, the highest first
    sums         bytea  NOT NULL,
    PRIMARY KEY (organization, workspace, pack)
);

CREATE TABLE repairs (
    organization bytea  NOT NULL,
    workspace    bytea  NOT NULL,
    pack         bytea  NOT NULL,
    store        bigint NOT NULL,
    PRIMARY KEY (organization, workspace, pack, store)
);

INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums)
SELECT o.fingerprint, w.id, p.id, p.size, 1, 0, '\x0000000000000001', '\x'
FROM packs p
JOIN workspaces w ON w.organization = p.organization AND w.number = p.workspace
JOIN organizations o ON o.key = p.organization
WHERE o.fingerprint IS NOT NULL;
