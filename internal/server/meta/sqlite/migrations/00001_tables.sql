-- Every table leads with the organization's key, as in the other adapters.
-- idx is an index of a log.
--
-- Ids are random, so each row that is found by one touches a page of its own,
-- and pages touched are what a commit costs. Hence short rows that stay alone
-- are WITHOUT ROWID, in one B-tree only; long rows, and those that come and
-- change together, stand in the order of their insertion beside a short index.

-- +goose Up
CREATE TABLE organizations (
    key                INTEGER PRIMARY KEY AUTOINCREMENT,
    name               TEXT    NOT NULL UNIQUE,
    bootstrap          BLOB    NOT NULL,
    fingerprint        BLOB    UNIQUE, -- NULL until bootstrapped
    root               BLOB    NOT NULL,
    idx                INTEGER NOT NULL,
    head               BLOB    NOT NULL,
    created            INTEGER NOT NULL,
    expired            INTEGER NOT NULL,
    limit_active_users INTEGER NOT NULL,
    limit_storage      INTEGER NOT NULL,
    outsiders          INTEGER NOT NULL,
    users              INTEGER NOT NULL DEFAULT 0,
    active_users       INTEGER NOT NULL DEFAULT 0,
    workspaces         INTEGER NOT NULL DEFAULT 0,
    records            INTEGER NOT NULL DEFAULT 0,
    manifests          INTEGER NOT NULL DEFAULT 0,
    manifest_bytes     INTEGER NOT NULL DEFAULT 0,
    blocks             INTEGER NOT NULL DEFAULT 0,
    block_bytes        INTEGER NOT NULL DEFAULT 0,
    packs              INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE users (
    organization INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    email        TEXT    NOT NULL,
    opening      BLOB    NOT NULL,
    revoked      INTEGER NOT NULL,
    PRIMARY KEY (organization, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX users_by_email ON users (organization, email) WHERE revoked = 0;

CREATE TABLE deliveries (
    organization INTEGER NOT NULL,
    device       BLOB    NOT NULL,
    key          BLOB    NOT NULL,
    sealed       BLOB    NOT NULL,
    PRIMARY KEY (organization, device, key)
) STRICT;

CREATE TABLE user_manifests (
    organization INTEGER NOT NULL,
    user         BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    manifest     BLOB    NOT NULL,
    PRIMARY KEY (organization, user)
) STRICT;

CREATE TABLE invitations (
    organization INTEGER NOT NULL,
    token        BLOB    NOT NULL,
    inviter      BLOB    NOT NULL,
    state        INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    statement    BLOB    NOT NULL,
    PRIMARY KEY (organization, token)
) STRICT;

CREATE INDEX invitations_pending ON invitations (organization, inviter, created, token) WHERE state = 1;

CREATE TABLE attempts (
    number       INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    token        BLOB    NOT NULL,
    attempt      BLOB    NOT NULL,
    aborted      INTEGER NOT NULL,
    UNIQUE (organization, token, attempt)
) STRICT;

CREATE TABLE messages (
    organization INTEGER NOT NULL,
    token        BLOB    NOT NULL,
    attempt      BLOB    NOT NULL,
    step         INTEGER NOT NULL,
    message      BLOB    NOT NULL,
    PRIMARY KEY (organization, token, attempt, step)
) STRICT;

CREATE TABLE workspaces (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    organization INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    idx          INTEGER NOT NULL,
    head         BLOB    NOT NULL,
    state        BLOB    NOT NULL,
    updated      INTEGER NOT NULL,
    UNIQUE (organization, id)
) STRICT;

CREATE TABLE members (
    organization INTEGER NOT NULL,
    user         BLOB    NOT NULL,
    workspace    INTEGER NOT NULL,
    role         INTEGER NOT NULL,
    PRIMARY KEY (organization, user, workspace)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL, -- 0 in the organization's own log
    idx          INTEGER NOT NULL,
    head         BLOB    NOT NULL,
    digest       BLOB    NOT NULL,
    raw          BLOB    NOT NULL,
    PRIMARY KEY (organization, workspace, idx),
    UNIQUE (organization, workspace, digest)
) STRICT;

CREATE TABLE entries (
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    base         INTEGER NOT NULL, -- 0 when gone
    idx          INTEGER NOT NULL,
    manifest     INTEGER NOT NULL, -- number of the newest, or 0
    PRIMARY KEY (organization, workspace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX entries_by_change ON entries (organization, workspace, idx, id) WHERE base > 0;

-- The versions of an entry are found from its newest, one behind the other.
CREATE TABLE manifests (
    number       INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL,
    entry        BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    idx          INTEGER NOT NULL,
    previous     INTEGER NOT NULL, -- number of the manifest before, or 0
    sealed       BLOB    NOT NULL
) STRICT;

CREATE TABLE packs (
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    size         INTEGER NOT NULL,
    live         INTEGER NOT NULL, -- bytes of its blocks that have a row
    added        INTEGER NOT NULL,
    PRIMARY KEY (organization, workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    pack         BLOB    NOT NULL,
    start        INTEGER NOT NULL,
    length       INTEGER NOT NULL,
    digest       BLOB    NOT NULL,
    idx          INTEGER NOT NULL, -- of the commit that introduced it, or 0
    PRIMARY KEY (organization, workspace, id)
) STRICT;

CREATE TABLE grants (
    organization INTEGER NOT NULL,
    workspace    INTEGER NOT NULL,
    recipient    BLOB    NOT NULL,
    generation   INTEGER NOT NULL,
    resealer     BLOB    NOT NULL,
    sealed       BLOB    NOT NULL,
    PRIMARY KEY (organization, workspace, recipient, generation, resealer)
) STRICT;
