-- +goose Up
-- What the authorization code grant needs.
ALTER TABLE users ADD COLUMN name text NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN email text NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN email_verified boolean NOT NULL DEFAULT false;

-- Lists are separated by spaces; null is the server's value; lifetimes are microseconds.
ALTER TABLE clients ADD COLUMN redirect_uris text NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN post_logout_redirect_uris text NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN origins text NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN resources text NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN pkce text NOT NULL DEFAULT 'required';
ALTER TABLE clients ADD COLUMN access_ttl integer;
ALTER TABLE clients ADD COLUMN refresh_ttl integer;
ALTER TABLE clients ADD COLUMN device_max_age integer;
ALTER TABLE clients ADD COLUMN max_devices integer;
ALTER TABLE clients ADD COLUMN refresh_cookie boolean NOT NULL DEFAULT false;
ALTER TABLE clients ADD COLUMN backchannel_logout_uri text NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN built_in boolean NOT NULL DEFAULT false;

-- The clients whose devices are browser sessions. A client of that name that somebody registered stops the migration here.
-- Whatever a deleted one of the same name was issued stays dead: it lies at or below the horizon.
INSERT INTO clients (id, name, public, secret_hash, grants, scopes, introspect, valid_from, version, created_at, updated_at, built_in)
    SELECT b.column1, b.column2, true, '', '', '', false, r.horizon, r.horizon, c.clock, c.clock, true
    FROM (VALUES ('curfew', 'Curfew'), ('curfew-console', 'Curfew console')) b, realm r,
        (SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS integer) AS clock) c;

ALTER TABLE devices ADD COLUMN parent_id text NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE devices ADD COLUMN offline boolean NOT NULL DEFAULT false;
ALTER TABLE devices ADD COLUMN auth_at integer NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN resources text NOT NULL DEFAULT '';
CREATE INDEX devices_parent ON devices (parent_id) WHERE parent_id <> '00000000-0000-0000-0000-000000000000';

CREATE TABLE codes (
    hash         blob PRIMARY KEY NOT NULL,
    client_id    text NOT NULL,
    user_id      text NOT NULL,
    parent_id    text NOT NULL,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL,
    scope        text NOT NULL,
    resources    text NOT NULL,
    nonce        text NOT NULL,
    auth_at      integer NOT NULL,
    issued_at    integer NOT NULL,
    expires_at   integer NOT NULL,
    used_at      integer NOT NULL,
    device_id    text NOT NULL
);
CREATE INDEX codes_expires ON codes (expires_at);

-- +goose Down
DROP TABLE codes;
DROP INDEX devices_parent;
ALTER TABLE devices DROP COLUMN parent_id;
ALTER TABLE devices DROP COLUMN offline;
ALTER TABLE devices DROP COLUMN auth_at;
ALTER TABLE devices DROP COLUMN resources;
DELETE FROM clients WHERE built_in;
ALTER TABLE clients DROP COLUMN redirect_uris;
ALTER TABLE clients DROP COLUMN post_logout_redirect_uris;
ALTER TABLE clients DROP COLUMN origins;
ALTER TABLE clients DROP COLUMN resources;
ALTER TABLE clients DROP COLUMN pkce;
ALTER TABLE clients DROP COLUMN access_ttl;
ALTER TABLE clients DROP COLUMN refresh_ttl;
ALTER TABLE clients DROP COLUMN device_max_age;
ALTER TABLE clients DROP COLUMN max_devices;
ALTER TABLE clients DROP COLUMN refresh_cookie;
ALTER TABLE clients DROP COLUMN backchannel_logout_uri;
ALTER TABLE clients DROP COLUMN built_in;
ALTER TABLE users DROP COLUMN name;
ALTER TABLE users DROP COLUMN email;
ALTER TABLE users DROP COLUMN email_verified;
