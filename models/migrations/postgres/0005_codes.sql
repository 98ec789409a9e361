-- +goose NO TRANSACTION
-- +goose Up
-- What the authorization code grant needs. Every step can be done again: a step that fails here leaves those before it.
ALTER TABLE users
    ADD COLUMN IF NOT EXISTS name           text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS email          text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS email_verified boolean NOT NULL DEFAULT false;

-- Lists are separated by spaces; null is the server's value; lifetimes are microseconds.
ALTER TABLE clients
    ADD COLUMN IF NOT EXISTS redirect_uris             text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS post_logout_redirect_uris text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS origins                   text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS resources                 text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS pkce                      text NOT NULL DEFAULT 'required',
    ADD COLUMN IF NOT EXISTS access_ttl                bigint,
    ADD COLUMN IF NOT EXISTS refresh_ttl               bigint,
    ADD COLUMN IF NOT EXISTS device_max_age            bigint,
    ADD COLUMN IF NOT EXISTS max_devices               bigint,
    ADD COLUMN IF NOT EXISTS refresh_cookie            boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS backchannel_logout_uri    text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS built_in                  boolean NOT NULL DEFAULT false;

-- The clients whose devices are browser sessions. A client of that name that somebody registered stops the migration here.
-- Whatever a deleted one of the same name was issued stays dead: it lies at or below the horizon.
INSERT INTO clients (id, name, public, secret_hash, grants, scopes, introspect, valid_from, version, created_at, updated_at, built_in)
    SELECT b.id, b.name, true, '', '', '', false, r.horizon, r.horizon, c.clock, c.clock, true
    FROM (VALUES ('curfew', 'Curfew'), ('curfew-console', 'Curfew console')) b (id, name), realm r,
        (SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS clock) c
    WHERE NOT EXISTS (SELECT 1 FROM clients k WHERE k.id = b.id AND k.built_in);

ALTER TABLE devices
    ADD COLUMN IF NOT EXISTS parent_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD COLUMN IF NOT EXISTS offline   boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS auth_at   bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS resources text NOT NULL DEFAULT '';

CREATE TABLE IF NOT EXISTS codes (
    hash         bytea PRIMARY KEY,
    client_id    text NOT NULL,
    user_id      uuid NOT NULL,
    parent_id    uuid NOT NULL,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL,
    scope        text NOT NULL,
    resources    text NOT NULL,
    nonce        text NOT NULL,
    auth_at      bigint NOT NULL,
    issued_at    bigint NOT NULL,
    expires_at   bigint NOT NULL,
    used_at      bigint NOT NULL,
    device_id    uuid NOT NULL
);
CREATE INDEX IF NOT EXISTS codes_expires ON codes (expires_at);

-- It is made while refreshes go on, which takes the time that it takes. No refresh changes a parent.
SET statement_timeout = 0;
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS devices_parent;
CREATE INDEX CONCURRENTLY devices_parent ON devices (parent_id) WHERE parent_id <> '00000000-0000-0000-0000-000000000000';
RESET statement_timeout;
RESET lock_timeout;

-- +goose Down
DROP TABLE codes;
DROP INDEX CONCURRENTLY devices_parent;
ALTER TABLE devices DROP COLUMN parent_id, DROP COLUMN offline, DROP COLUMN auth_at, DROP COLUMN resources;
DELETE FROM clients WHERE built_in;
ALTER TABLE clients DROP COLUMN redirect_uris, DROP COLUMN post_logout_redirect_uris, DROP COLUMN origins, DROP COLUMN resources,
    DROP COLUMN pkce, DROP COLUMN access_ttl, DROP COLUMN refresh_ttl, DROP COLUMN device_max_age, DROP COLUMN max_devices,
    DROP COLUMN refresh_cookie, DROP COLUMN backchannel_logout_uri, DROP COLUMN built_in;
ALTER TABLE users DROP COLUMN name, DROP COLUMN email, DROP COLUMN email_verified;
