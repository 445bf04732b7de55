-- What operators decided of queues. One that has no row hands out whatever there is.
CREATE TABLE queue (
    name        TEXT    NOT NULL PRIMARY KEY,
    paused_at   INTEGER,
    concurrency INTEGER CHECK (concurrency > 0) -- so many of its jobs are held at once, at most
) STRICT, WITHOUT ROWID;

-- For the number of those that are held. The token, since no heartbeat changes it.
CREATE INDEX job_held ON job (queue) WHERE token IS NOT NULL;

-- Since when the worker is handed nothing new.
ALTER TABLE worker ADD COLUMN draining_at INTEGER;
