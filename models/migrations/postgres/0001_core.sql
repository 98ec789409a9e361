-- +goose Up
-- Times are microseconds since 1970. There are no foreign keys on devices: a refresh is one statement on one row.
CREATE TABLE realm (
    id                 smallint PRIMARY KEY CHECK (id = 1),
    valid_from         bigint NOT NULL,
    horizon            bigint NOT NULL,
    last_seq           bigint NOT NULL,
    longest_access_ttl bigint NOT NULL
);
INSERT INTO realm VALUES (1, 0, 0, 0, 0);

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    username      text NOT NULL,
    username_key  text COLLATE "C" NOT NULL UNIQUE,
    password_hash text NOT NULL,
    password_version bigint NOT NULL,
    admin         boolean NOT NULL,
    disabled_at   bigint NOT NULL,
    valid_from    bigint NOT NULL,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL
);

CREATE TABLE clients (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    public      boolean NOT NULL,
    secret_hash text NOT NULL,
    grants      text NOT NULL,
    scopes      text NOT NULL,
    introspect  boolean NOT NULL,
    valid_from  bigint NOT NULL,
    version     bigint NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);

-- No index on a column that every refresh changes, and room in each page: a refresh is a HOT update.
CREATE TABLE devices (
    id                  uuid PRIMARY KEY,
    user_id             uuid NOT NULL,
    refresh_id          uuid NOT NULL,
    previous_refresh_id uuid NOT NULL,
    rotated_at          bigint NOT NULL,
    issued_at           bigint NOT NULL,
    signed_in_at        bigint NOT NULL,
    valid_from          bigint NOT NULL,
    expires_at          bigint NOT NULL,
    ends_at             bigint NOT NULL,
    last_seen_at        bigint NOT NULL,
    created_at          bigint NOT NULL,
    client_id           text NOT NULL,
    name                text NOT NULL,
    scope               text NOT NULL,
    ip                  text NOT NULL,
    user_agent          text NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX devices_user ON devices (user_id);
CREATE INDEX devices_client ON devices (client_id, id);
-- An address changes seldom: a refresh that keeps it is HOT all the same.
CREATE INDEX devices_ip ON devices (ip, id);

CREATE TABLE revocations (
    seq        bigint PRIMARY KEY,
    level      text NOT NULL,
    subject    text NOT NULL,
    valid_from bigint NOT NULL,
    reason     text NOT NULL,
    entity     text NOT NULL,
    actor      text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX revocations_subject ON revocations (subject, seq);
CREATE INDEX revocations_expires ON revocations (expires_at);

CREATE TABLE audit_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         bigint NOT NULL,
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
    kid          text PRIMARY KEY,
    alg          text NOT NULL,
    public_key   bytea NOT NULL,
    private_key  bytea NOT NULL,
    secret_id    text NOT NULL,
    created_at   bigint NOT NULL,
    activates_at bigint NOT NULL,
    retires_at   bigint NOT NULL
);

-- Counters of guesses: worth no WAL; a crash of the database forgets them.
CREATE UNLOGGED TABLE rate_limits (
    k   text PRIMARY KEY,
    tat bigint NOT NULL
) WITH (fillfactor = 70);

-- +goose Down
DROP TABLE rate_limits, signing_keys, audit_events, revocations, devices, clients, users, realm;
