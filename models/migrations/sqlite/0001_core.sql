-- +goose Up
-- Times are microseconds since 1970. There are no foreign keys on devices: a refresh is one statement on one row.
CREATE TABLE realm (
    id                 integer PRIMARY KEY CHECK (id = 1),
    valid_from         integer NOT NULL,
    horizon            integer NOT NULL,
    last_seq           integer NOT NULL,
    longest_access_ttl integer NOT NULL
);
INSERT INTO realm VALUES (1, 0, 0, 0, 0);

CREATE TABLE users (
    id            text PRIMARY KEY NOT NULL,
    username      text NOT NULL,
    username_key  text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    password_version integer NOT NULL,
    admin         boolean NOT NULL,
    disabled_at   integer NOT NULL,
    valid_from    integer NOT NULL,
    created_at    integer NOT NULL,
    updated_at    integer NOT NULL
);

CREATE TABLE clients (
    id          text PRIMARY KEY NOT NULL,
    name        text NOT NULL,
    public      boolean NOT NULL,
    secret_hash text NOT NULL,
    grants      text NOT NULL,
    scopes      text NOT NULL,
    introspect  boolean NOT NULL,
    valid_from  integer NOT NULL,
    version     integer NOT NULL,
    created_at  integer NOT NULL,
    updated_at  integer NOT NULL
);

-- No index on a column that every refresh changes.
CREATE TABLE devices (
    id                  text PRIMARY KEY NOT NULL,
    user_id             text NOT NULL,
    refresh_id          text NOT NULL,
    previous_refresh_id text NOT NULL,
    rotated_at          integer NOT NULL,
    issued_at           integer NOT NULL,
    signed_in_at        integer NOT NULL,
    valid_from          integer NOT NULL,
    expires_at          integer NOT NULL,
    ends_at             integer NOT NULL,
    last_seen_at        integer NOT NULL,
    created_at          integer NOT NULL,
    client_id           text NOT NULL,
    name                text NOT NULL,
    scope               text NOT NULL,
    ip                  text NOT NULL,
    user_agent          text NOT NULL
);
CREATE INDEX devices_user ON devices (user_id);
CREATE INDEX devices_client ON devices (client_id, id);
CREATE INDEX devices_ip ON devices (ip, id);

CREATE TABLE revocations (
    seq        integer PRIMARY KEY,
    level      text NOT NULL,
    subject    text NOT NULL,
    valid_from integer NOT NULL,
    reason     text NOT NULL,
    entity     text NOT NULL,
    actor      text NOT NULL,
    created_at integer NOT NULL,
    expires_at integer NOT NULL
);
CREATE INDEX revocations_subject ON revocations (subject, seq);
CREATE INDEX revocations_expires ON revocations (expires_at);

CREATE TABLE audit_events (
    id         integer PRIMARY KEY AUTOINCREMENT,
    at         integer NOT NULL,
    type       text NOT NULL,
    entity     text NOT NULL,
    actor      text NOT NULL,
    ip         text NOT NULL,
    user_agent text NOT NULL,
    user_id    text NOT NULL,
    client_id  text NOT NULL,
    device_id  text NOT NULL,
    detail     text NOT NULL
);
CREATE INDEX audit_events_user ON audit_events (user_id, id);
CREATE INDEX audit_events_device ON audit_events (device_id, id);
CREATE INDEX audit_events_at ON audit_events (at);

CREATE TABLE signing_keys (
    kid          text PRIMARY KEY NOT NULL,
    alg          text NOT NULL,
    public_key   blob NOT NULL,
    private_key  blob NOT NULL,
    secret_id    text NOT NULL,
    created_at   integer NOT NULL,
    activates_at integer NOT NULL,
    retires_at   integer NOT NULL
);

-- Counters of guesses.
CREATE TABLE rate_limits (
    k   text PRIMARY KEY NOT NULL,
    tat integer NOT NULL
);

-- +goose Down
DROP TABLE rate_limits;
DROP TABLE signing_keys;
DROP TABLE audit_events;
DROP TABLE revocations;
DROP TABLE devices;
DROP TABLE clients;
DROP TABLE users;
DROP TABLE realm;
