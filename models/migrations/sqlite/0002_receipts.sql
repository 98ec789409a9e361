-- +goose Up
-- A subscriber is a name under one client: a resource server that follows the revocation feed.
CREATE TABLE subscribers (
    client_id  text NOT NULL,
    name       text NOT NULL,
    live_until integer NOT NULL,
    acked_seq  integer NOT NULL,
    acked_at   integer NOT NULL,
    created_at integer NOT NULL,
    PRIMARY KEY (client_id, name)
);

CREATE TABLE acknowledgements (
    client_id text NOT NULL,
    name      text NOT NULL,
    seq       integer NOT NULL,
    at        integer NOT NULL,
    PRIMARY KEY (client_id, name, seq)
);
CREATE INDEX acknowledgements_at ON acknowledgements (at);

-- +goose Down
DROP TABLE acknowledgements;
DROP TABLE subscribers;
