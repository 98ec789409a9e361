-- +goose Up
-- After a clean-up autovacuum would cut off the table's empty end, under a lock that refreshes wait for, and the next sign-ins
-- would make it grow again.
ALTER TABLE devices SET (vacuum_truncate = off);

-- +goose Down
ALTER TABLE devices RESET (vacuum_truncate);
