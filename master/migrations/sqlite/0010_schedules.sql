-- Jobs that begin at times of a calendar.
CREATE TABLE schedule (
    name           TEXT    NOT NULL PRIMARY KEY,
    cron           TEXT    NOT NULL,
    time_zone      TEXT    NOT NULL,
    overlap        TEXT    NOT NULL CHECK (overlap IN ('allow', 'skip', 'replace')),
    catch_up       INTEGER NOT NULL, -- milliseconds
    spec           TEXT    NOT NULL, -- of its jobs: JSON, secrets sealed
    created_at     INTEGER NOT NULL,
    paused_at      INTEGER,
    next_at        INTEGER,          -- the oldest time for which nothing was done yet
    last_time      INTEGER,          -- the newest time for which a job was begun
    last_job       INTEGER,
    skipped        INTEGER NOT NULL DEFAULT 0,
    skipped_time   INTEGER,
    skipped_reason TEXT
) STRICT;

CREATE INDEX schedule_due ON schedule (next_at, name)
    WHERE paused_at IS NULL AND next_at IS NOT NULL;

-- The schedule that a job is of, if any; for those of its jobs that have not ended.
ALTER TABLE job ADD COLUMN schedule TEXT;
CREATE INDEX job_of_schedule ON job (schedule)
    WHERE schedule IS NOT NULL AND status IN ('Pending', 'Assigned', 'Running');
