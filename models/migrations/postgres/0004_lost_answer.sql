-- +goose NO TRANSACTION
-- +goose Up
-- For how long after a refresh a client whose answer was lost may use the token of before; null is the server's value.
-- Every step can be done again: a step that fails here leaves those before it.
ALTER TABLE clients ADD COLUMN IF NOT EXISTS lost_answer bigint;

-- A user's devices, the newest first, without a look at all of them. It is made while refreshes go on, which takes the
-- time that it takes, and waits for whatever began before it.
SET statement_timeout = 0;
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS devices_user_id;
CREATE INDEX CONCURRENTLY devices_user_id ON devices (user_id, id);
DROP INDEX CONCURRENTLY IF EXISTS devices_user;

-- +goose Down
ALTER TABLE clients DROP COLUMN lost_answer;
CREATE INDEX CONCURRENTLY devices_user ON devices (user_id);
DROP INDEX CONCURRENTLY devices_user_id;
