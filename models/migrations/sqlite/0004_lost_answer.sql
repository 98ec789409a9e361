-- +goose Up
-- For how long after a refresh a client whose answer was lost may use the token of before; null is the server's value.
ALTER TABLE clients ADD COLUMN lost_answer integer;

-- A user's devices, the newest first, without a look at all of them.
CREATE INDEX devices_user_id ON devices (user_id, id);
DROP INDEX devices_user;

-- +goose Down
CREATE INDEX devices_user ON devices (user_id);
DROP INDEX devices_user_id;
ALTER TABLE clients DROP COLUMN lost_answer;
