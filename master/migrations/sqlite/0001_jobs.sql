-- Every INTEGER is a BIGINT of the other adapters. Times are Unix milliseconds,
-- JSON is kept as text, the words of an enum are those of the code.

CREATE TABLE job (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    spec          TEXT    NOT NULL,                  -- JSON; queue and priority repeat it for the indexes
    queue         TEXT    NOT NULL,
    priority      INTEGER NOT NULL,
    status        TEXT    NOT NULL CHECK (
        status IN ('Pending', 'Assigned', 'Running', 'Completed', 'Failed', 'Cancelled')
    ),
    created_at    INTEGER NOT NULL,
    not_before    INTEGER,
    attempts      INTEGER NOT NULL DEFAULT 0,
    retries       INTEGER NOT NULL DEFAULT 0,
    infra_retries INTEGER NOT NULL DEFAULT 0,
    worker        TEXT,                              -- who holds it, or held it last
    -- The lease, while somebody holds the job.
    token         TEXT,
    expires_at    INTEGER,
    stop          TEXT CHECK (stop IN ('No', 'Cancel', 'Delete')),
    -- How it ended, or how the attempt before a retry ended.
    outcome       TEXT,                              -- JSON
    finished_at   INTEGER,
    CHECK ((token IS NOT NULL) = (status IN ('Assigned', 'Running'))),
    CHECK ((token IS NULL) = (expires_at IS NULL) AND (token IS NULL) = (stop IS NULL)),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
) STRICT;

-- For claims: they never look at a job that is not pending.
CREATE INDEX job_claimable ON job (queue, priority DESC, id, not_before) WHERE status = 'Pending';
-- For the list of pending jobs in claiming order.
CREATE INDEX job_pending ON job (priority DESC, id) WHERE status = 'Pending';
-- For lists by status.
CREATE INDEX job_status ON job (status, id);
-- For upkeep and the list of workers: held jobs only.
CREATE INDEX job_expiry ON job (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE attempt (
    job_id        INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number        INTEGER NOT NULL CHECK (number > 0),
    worker        TEXT    NOT NULL,
    token         TEXT    NOT NULL,
    claim_request TEXT,
    claimed_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    outcome       TEXT,                              -- JSON
    usage         TEXT,                              -- JSON
    tail          TEXT,                              -- JSON, which can say NUL
    log_offset    INTEGER NOT NULL DEFAULT 0,
    log_output    INTEGER NOT NULL DEFAULT 0,
    log_gap       INTEGER NOT NULL DEFAULT 0,
    log_crc32     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, number)
) STRICT;

-- For claims that are repeated because their answer was lost.
CREATE INDEX attempt_request ON attempt (claim_request)
    WHERE claim_request IS NOT NULL AND ended_at IS NULL;

CREATE TABLE log_chunk (
    job_id     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    stdout     INTEGER NOT NULL,
    stderr     INTEGER NOT NULL,
    system     INTEGER NOT NULL,
    frames     BLOB    NOT NULL,
    PRIMARY KEY (job_id, attempt, log_offset),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE worker (
    name          TEXT    NOT NULL PRIMARY KEY,
    registration  TEXT    NOT NULL,                  -- JSON
    registered_at INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL
) STRICT;
