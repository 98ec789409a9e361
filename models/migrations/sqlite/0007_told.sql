-- +goose Up
-- Whoever has to be told of what happened, and the keys that logout tokens are signed with.
CREATE TABLE identity_keys (
    kid          text PRIMARY KEY NOT NULL,
    alg          text NOT NULL,
    public_key   blob NOT NULL,
    private_key  blob NOT NULL,
    secret_id    text NOT NULL,
    created_at   integer NOT NULL,
    activates_at integer NOT NULL,
    retires_at   integer NOT NULL
);

-- A receiver follows one log: a webhook the audit log, a client with a back-channel logout URI the revocation log.
-- (pos_tx, pos_id) is the last event that it was told, but for what comes after pos_part if that is not empty.
CREATE TABLE receivers (
    id              text PRIMARY KEY NOT NULL,
    kind            text NOT NULL,
    client_id       text NOT NULL,
    url             text NOT NULL,
    types           text NOT NULL,
    secret          blob NOT NULL,
    previous_secret blob NOT NULL,
    previous_until  integer NOT NULL,
    secret_id       text NOT NULL,
    created_at      integer NOT NULL,
    ends_at_seq     integer NOT NULL,
    pos_tx          integer NOT NULL,
    pos_id          integer NOT NULL,
    pos_part        text NOT NULL,
    node            text NOT NULL,
    tries           integer NOT NULL,
    failing_since   integer NOT NULL,
    next_try_at     integer NOT NULL,
    last_try_at     integer NOT NULL,
    last_answer     text NOT NULL,
    told            integer NOT NULL,
    dropped         integer NOT NULL
);
CREATE INDEX receivers_client ON receivers (client_id);

-- The nodes that tell receivers. Who is in time here keeps the receivers that bear its name.
CREATE TABLE notifiers (
    node  text PRIMARY KEY NOT NULL,
    until integer NOT NULL
);

-- What a receiver was not told because it was too old by then: ranges of positions.
CREATE TABLE dropped_notices (
    receiver_id text NOT NULL,
    from_tx     integer NOT NULL,
    from_id     integer NOT NULL,
    to_tx       integer NOT NULL,
    to_id       integer NOT NULL,
    notices     integer NOT NULL,
    at          integer NOT NULL,
    PRIMARY KEY (receiver_id, from_tx, from_id)
);
CREATE INDEX dropped_notices_at ON dropped_notices (at);

-- There is one writer at a time: the order of the numbers is that of the commits, so the first half of an event's position
-- is always 0.
ALTER TABLE audit_events ADD COLUMN tx integer NOT NULL DEFAULT 0;
ALTER TABLE realm ADD COLUMN restored_events integer NOT NULL DEFAULT 0;

INSERT INTO receivers
    SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' ||
        substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), 'logout', c.id, c.backchannel_logout_uri, '', x'', x'', 0, '', r.horizon, 0, 0, r.last_seq, '',
        '', 0, 0, 0, 0, '', 0, 0
    FROM clients c, realm r WHERE c.backchannel_logout_uri <> '';

-- +goose Down
ALTER TABLE audit_events DROP COLUMN tx;
ALTER TABLE realm DROP COLUMN restored_events;
DROP TABLE dropped_notices;
DROP TABLE notifiers;
DROP TABLE receivers;
DROP TABLE identity_keys;
