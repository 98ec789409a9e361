-- +goose NO TRANSACTION
-- +goose Up
-- Whoever has to be told of what happened, and the keys that logout tokens are signed with. Every step can be done again:
-- a step that fails here leaves those before it.
CREATE TABLE IF NOT EXISTS identity_keys (
    kid          text PRIMARY KEY,
    alg          text NOT NULL,
    public_key   bytea NOT NULL,
    private_key  bytea NOT NULL,
    secret_id    text NOT NULL,
    created_at   bigint NOT NULL,
    activates_at bigint NOT NULL,
    retires_at   bigint NOT NULL
);

-- A receiver follows one log: a webhook the audit log, a client with a back-channel logout URI the revocation log.
-- (pos_tx, pos_id) is the last event that it was told, but for what comes after pos_part if that is not empty.
CREATE TABLE IF NOT EXISTS receivers (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL,
    client_id       text NOT NULL,
    url             text NOT NULL,
    types           text NOT NULL,
    secret          bytea NOT NULL,
    previous_secret bytea NOT NULL,
    previous_until  bigint NOT NULL,
    secret_id       text NOT NULL,
    created_at      bigint NOT NULL,
    ends_at_seq     bigint NOT NULL,
    pos_tx          bigint NOT NULL,
    pos_id          bigint NOT NULL,
    pos_part        text NOT NULL,
    node            text NOT NULL,
    tries           bigint NOT NULL,
    failing_since   bigint NOT NULL,
    next_try_at     bigint NOT NULL,
    last_try_at     bigint NOT NULL,
    last_answer     text NOT NULL,
    told            bigint NOT NULL,
    dropped         bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS receivers_client ON receivers (client_id);

-- The nodes that tell receivers. Who is in time here keeps the receivers that bear its name.
CREATE TABLE IF NOT EXISTS notifiers (
    node  text PRIMARY KEY,
    until bigint NOT NULL
);

-- What a receiver was not told because it was too old by then: ranges of positions.
CREATE TABLE IF NOT EXISTS dropped_notices (
    receiver_id uuid NOT NULL,
    from_tx     bigint NOT NULL,
    from_id     bigint NOT NULL,
    to_tx       bigint NOT NULL,
    to_id       bigint NOT NULL,
    notices     bigint NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (receiver_id, from_tx, from_id)
);
CREATE INDEX IF NOT EXISTS dropped_notices_at ON dropped_notices (at);

-- The order of commits, for whoever follows the audit log: no transaction below the oldest open one appears any more. What
-- was there before is at 0.
ALTER TABLE audit_events ADD COLUMN IF NOT EXISTS tx bigint NOT NULL DEFAULT 0;
ALTER TABLE audit_events ALTER COLUMN tx SET DEFAULT pg_current_xact_id()::text::bigint;
-- Events up to this number are older than the cluster's transaction numbers: a dump was restored.
ALTER TABLE realm ADD COLUMN IF NOT EXISTS restored_events bigint NOT NULL DEFAULT 0;

SET statement_timeout = 0;
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS audit_events_tx;
CREATE INDEX CONCURRENTLY audit_events_tx ON audit_events (tx, id);
RESET statement_timeout;
RESET lock_timeout;

INSERT INTO receivers
    SELECT gen_random_uuid(), 'logout', c.id, c.backchannel_logout_uri, '', '', '', 0, '', r.horizon, 0, 0, r.last_seq, '',
        '', 0, 0, 0, 0, '', 0, 0
    FROM clients c, realm r WHERE c.backchannel_logout_uri <> ''
        AND NOT EXISTS (SELECT 1 FROM receivers w WHERE w.client_id = c.id);

-- +goose Down
DROP INDEX CONCURRENTLY audit_events_tx;
ALTER TABLE audit_events DROP COLUMN tx;
ALTER TABLE realm DROP COLUMN restored_events;
DROP TABLE dropped_notices, notifiers, receivers, identity_keys;
