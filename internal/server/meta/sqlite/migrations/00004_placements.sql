-- How packs lie in the object stores. Those of before lie whole in the first
-- store, the one that is registered first, and have no checksums.
--
-- organization is the fingerprint here: the stores of packs know no keys.

-- +goose Up
CREATE TABLE stores (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE placements (
    organization BLOB    NOT NULL,
    workspace    BLOB    NOT NULL,
    pack         BLOB    NOT NULL,
    size         INTEGER NOT NULL,
    data         INTEGER NOT NULL,
    parity       INTEGER NOT NULL,
    stores       BLOB    NOT NULL, -- the id of each, in 8 bytes, the highest first
    sums         BLOB    NOT NULL,
    PRIMARY KEY (organization, workspace, pack)
) STRICT;

CREATE TABLE repairs (
    organization BLOB    NOT NULL,
    workspace    BLOB    NOT NULL,
    pack         BLOB    NOT NULL,
    store        INTEGER NOT NULL,
    PRIMARY KEY (organization, workspace, pack, store)
) STRICT, WITHOUT ROWID;

INSERT INTO placements (organization, workspace, pack, size, data, parity, stores, sums)
SELECT o.fingerprint, w.id, p.id, p.size, 1, 0, x'0000000000000001', x''
FROM packs p
JOIN workspaces w ON w.organization = p.organization AND w.number = p.workspace
JOIN organizations o ON o.key = p.organization
WHERE o.fingerprint IS NOT NULL;
