-- Every table leads with the organization's key, so that it can be partitioned
-- or sharded by it. idx is an index of a log.
--
-- Text that is ordered or unique is so by its bytes. What is sealed or signed
-- does not compress, so nothing tries.

-- +goose Up
CREATE TABLE organizations (
    key                bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name               text    COLLATE "C" NOT NULL UNIQUE,
    bootstrap          bytea   NOT NULL,
    fingerprint        bytea   UNIQUE, -- NULL until bootstrapped
    root               bytea   NOT NULL,
    idx                bigint  NOT NULL,
    head               bytea   NOT NULL,
    created            bigint  NOT NULL,
    expired            boolean NOT NULL,
    limit_active_users bigint  NOT NULL,
    limit_storage      bigint  NOT NULL,
    outsiders          boolean NOT NULL
);

-- What an organization has is the sum of its rows here. A transaction adds to
-- one that no other holds, or makes another: so none waits, and there are as
-- many as ever wrote at once.
CREATE TABLE counters (
    organization   bigint NOT NULL,
    shard          bigint GENERATED ALWAYS AS IDENTITY,
    users          bigint NOT NULL,
    active_users   bigint NOT NULL,
    workspaces     bigint NOT NULL,
    records        bigint NOT NULL,
    manifests      bigint NOT NULL,
    manifest_bytes bigint NOT NULL,
    blocks         bigint NOT NULL,
    block_bytes    bigint NOT NULL,
    packs          bigint NOT NULL,
    PRIMARY KEY (organization, shard)
) WITH (fillfactor = 50);

CREATE TABLE users (
    organization bigint NOT NULL,
    id           bytea  NOT NULL,
    email        text   COLLATE "C" NOT NULL,
    opening      bytea  NOT NULL,
    revoked      bigint NOT NULL,
    PRIMARY KEY (organization, id)
);

CREATE UNIQUE INDEX users_by_email ON users (organization, email) WHERE revoked = 0;

CREATE TABLE deliveries (
    organization bigint NOT NULL,
    device       bytea  NOT NULL,
    key          bytea  NOT NULL,
    sealed       bytea  NOT NULL,
    PRIMARY KEY (organization, device, key)
);

CREATE TABLE user_manifests (
    organization bigint NOT NULL,
    owner        bytea  NOT NULL,
    version      bigint NOT NULL,
    manifest     bytea  NOT NULL,
    PRIMARY KEY (organization, owner)
);

CREATE TABLE invitations (
    organization bigint   NOT NULL,
    token        bytea    NOT NULL,
    inviter      bytea    NOT NULL,
    state        smallint NOT NULL,
    created      bigint   NOT NULL,
    expires      bigint   NOT NULL,
    statement    bytea    NOT NULL,
    PRIMARY KEY (organization, token)
);

CREATE INDEX invitations_pending ON invitations (organization, inviter, created, token) WHERE state = 1;

CREATE TABLE attempts (
    organization bigint  NOT NULL,
    token        bytea   NOT NULL,
    number       bigint  GENERATED ALWAYS AS IDENTITY,
    attempt      bytea   NOT NULL,
    aborted      boolean NOT NULL,
    PRIMARY KEY (organization, token, number),
    UNIQUE (organization, token, attempt)
);

CREATE TABLE messages (
    organization bigint NOT NULL,
    token        bytea  NOT NULL,
    attempt      bytea  NOT NULL,
    step         bigint NOT NULL,
    message      bytea  NOT NULL,
    PRIMARY KEY (organization, token, attempt, step)
);

CREATE TABLE workspaces (
    organization bigint NOT NULL,
    number       bigint GENERATED ALWAYS AS IDENTITY,
    id           bytea  NOT NULL,
    idx          bigint NOT NULL,
    head         bytea  NOT NULL,
    state        bytea  NOT NULL,
    updated      bigint NOT NULL,
    PRIMARY KEY (organization, number),
    UNIQUE (organization, id)
);

-- The workspace's id stands beside its number, so that a member's are listed
-- in its order without sorting.
CREATE TABLE members (
    organization bigint   NOT NULL,
    member       bytea    NOT NULL,
    id           bytea    NOT NULL,
    workspace    bigint   NOT NULL,
    role         smallint NOT NULL,
    PRIMARY KEY (organization, member, id)
);

CREATE TABLE records (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL, -- 0 in the organization's own log
    idx          bigint NOT NULL,
    head         bytea  NOT NULL,
    digest       bytea  NOT NULL,
    raw          bytea  NOT NULL,
    PRIMARY KEY (organization, workspace, idx),
    UNIQUE (organization, workspace, digest)
);

CREATE TABLE entries (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL,
    id           bytea  NOT NULL,
    version      bigint NOT NULL,
    base         bigint NOT NULL, -- 0 when gone
    idx          bigint NOT NULL,
    PRIMARY KEY (organization, workspace, id)
);

CREATE INDEX entries_by_change ON entries (organization, workspace, idx, id) WHERE base > 0;

CREATE TABLE manifests (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL,
    entry        bytea  NOT NULL,
    version      bigint NOT NULL,
    idx          bigint NOT NULL,
    sealed       bytea  NOT NULL,
    PRIMARY KEY (organization, workspace, entry, version)
);

CREATE TABLE packs (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL,
    id           bytea  NOT NULL,
    size         bigint NOT NULL,
    live         bigint NOT NULL, -- bytes of its blocks that have a row
    added        bigint NOT NULL,
    PRIMARY KEY (organization, workspace, id)
);

CREATE TABLE blocks (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL,
    id           bytea  NOT NULL,
    pack         bytea  NOT NULL,
    start        bigint NOT NULL,
    length       bigint NOT NULL,
    digest       bytea  NOT NULL,
    idx          bigint NOT NULL, -- of the commit that introduced it, or 0
    PRIMARY KEY (organization, workspace, id)
) WITH (fillfactor = 80); -- idx is set once, mostly on the same page

CREATE TABLE grants (
    organization bigint NOT NULL,
    workspace    bigint NOT NULL,
    recipient    bytea  NOT NULL,
    generation   bigint NOT NULL,
    resealer     bytea  NOT NULL,
    sealed       bytea  NOT NULL,
    PRIMARY KEY (organization, workspace, recipient, generation, resealer)
);

ALTER TABLE workspaces ALTER COLUMN state SET STORAGE EXTERNAL;
ALTER TABLE records ALTER COLUMN raw SET STORAGE EXTERNAL;
ALTER TABLE manifests ALTER COLUMN sealed SET STORAGE EXTERNAL;
ALTER TABLE user_manifests ALTER COLUMN manifest SET STORAGE EXTERNAL;
ALTER TABLE grants ALTER COLUMN sealed SET STORAGE EXTERNAL;
ALTER TABLE messages ALTER COLUMN message SET STORAGE EXTERNAL;

-- parsec_must fails with an error's code unless something holds. So a batch
-- that ends with a commit stops before it.
-- +goose StatementBegin
CREATE FUNCTION parsec_must(holds boolean, code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = 'what was to be written does not fit what is there';
    END IF;
END
$$;
-- +goose StatementEnd
