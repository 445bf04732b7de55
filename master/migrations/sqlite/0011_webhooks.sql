-- Where the ends of jobs are told.
CREATE TABLE webhook (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    url        TEXT    NOT NULL,
    ends       TEXT    NOT NULL,                  -- JSON: the statuses that are told
    queue      TEXT,
    labels     TEXT    NOT NULL,                  -- JSON: what a job must have
    secret     TEXT    NOT NULL,                  -- sealed
    created_at INTEGER NOT NULL
) STRICT;

-- What is to be told, written with the end that it tells of; and what became of it. The job may be
-- run again or deleted meanwhile, so what is told of it is kept here.
CREATE TABLE delivery (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    webhook    INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    job_id     INTEGER NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('Completed', 'Failed', 'Cancelled')),
    job        TEXT    NOT NULL,                  -- JSON: the job at its end
    created_at INTEGER NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'Pending'
        CHECK (state IN ('Pending', 'Delivered', 'GivenUp')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    answer     INTEGER,                           -- the last answer's status code
    error      TEXT,
    tried_at   INTEGER,
    due_at     INTEGER,
    CHECK ((due_at IS NOT NULL) = (state = 'Pending'))
) STRICT;

-- For the courier: what is due, of each webhook.
CREATE INDEX delivery_due ON delivery (webhook, due_at, id) WHERE due_at IS NOT NULL;
-- For the log of a webhook, newest first.
CREATE INDEX delivery_log ON delivery (webhook, id);
-- For what the log drops.
CREATE INDEX delivery_ended ON delivery (webhook, id) WHERE due_at IS NULL;
