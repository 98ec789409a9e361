-- +goose Up
-- A subscriber is a name under one client: a resource server that follows the revocation feed.
CREATE TABLE subscribers (
    client_id  text NOT NULL,
    name       text NOT NULL,
    live_until bigint NOT NULL,
    acked_seq  bigint NOT NULL,
    acked_at   bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (client_id, name)
) WITH (fillfactor = 70);

CREATE TABLE acknowledgements (
    client_id text NOT NULL,
    name      text NOT NULL,
    seq       bigint NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (client_id, name, seq)
);
CREATE INDEX acknowledgements_at ON acknowledgements (at);

-- +goose Down
DROP TABLE acknowledgements, subscribers;
