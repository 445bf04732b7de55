-- The tables of SQLite's first twelve migrations, column for column. Times are Unix milliseconds,
-- JSON is kept as text, the words of an enum are those of the code. Names compare byte by byte, as
-- they do in SQLite.
--
-- A heartbeat changes `expires_at` alone, which stands in no index and in no index's condition, and
-- pages of `job` keep room: so it needs no new index entries (a heap-only update).

CREATE SEQUENCE job_id; -- never given twice

CREATE TABLE job (
    id            BIGINT PRIMARY KEY,
    spec          TEXT   NOT NULL, -- JSON; queue and priority repeat it for the indexes
    queue         TEXT   COLLATE "C" NOT NULL,
    demand        TEXT   COLLATE "C" NOT NULL DEFAULT '',
    priority      BIGINT NOT NULL,
    status        TEXT   COLLATE "C" NOT NULL CHECK (
        status IN ('Pending', 'Assigned', 'Running', 'Completed', 'Failed', 'Cancelled')
    ),
    created_at    BIGINT NOT NULL,
    not_before    BIGINT,
    waits_for     TEXT   COLLATE "C" NOT NULL DEFAULT 'worker'
        CHECK (waits_for IN ('worker', 'time', 'jobs', 'turn')),
    attempts      BIGINT NOT NULL DEFAULT 0,
    retries       BIGINT NOT NULL DEFAULT 0,
    infra_retries BIGINT NOT NULL DEFAULT 0,
    lost          BIGINT NOT NULL DEFAULT 0,
    worker        TEXT   COLLATE "C", -- who holds it, or held it last
    lease         BIGINT,             -- milliseconds, where the job asks for its own
    -- The lease, while somebody holds the job.
    token         TEXT   COLLATE "C",
    expires_at    BIGINT,
    stop          TEXT   CHECK (stop IN ('No', 'Cancel', 'Delete')),
    -- How it ended, or how the attempt before a retry ended.
    outcome       TEXT,               -- JSON
    finished_at   BIGINT,
    -- The first job of its array, and its own index.
    array_id      BIGINT,
    array_index   BIGINT,
    schedule      TEXT   COLLATE "C", -- the one that it is of, if any
    CHECK ((token IS NOT NULL) = (status IN ('Assigned', 'Running'))),
    CHECK ((token IS NULL) = (expires_at IS NULL) AND (token IS NULL) = (stop IS NULL)),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- For claims: they never look at a job that does not wait for a worker.
CREATE INDEX job_claimable ON job (queue, demand, priority DESC, id, not_before)
    WHERE status = 'Pending' AND waits_for = 'worker';
-- For those whose time comes.
CREATE INDEX job_due ON job (not_before) WHERE status = 'Pending' AND waits_for = 'time';
-- For the list of pending jobs in claiming order.
CREATE INDEX job_pending ON job (priority DESC, id) WHERE status = 'Pending';
-- For lists by status.
CREATE INDEX job_status ON job (status, id);
-- For what is held: how much of a queue, by whom, and since when unheard of.
CREATE INDEX job_held ON job (queue) WHERE token IS NOT NULL;
-- For the turns of an array.
CREATE INDEX job_array ON job (array_id, waits_for, id)
    WHERE array_id IS NOT NULL AND status IN ('Pending', 'Assigned', 'Running');
-- For the jobs of a schedule that have not ended.
CREATE INDEX job_of_schedule ON job (schedule)
    WHERE schedule IS NOT NULL AND status IN ('Pending', 'Assigned', 'Running');

CREATE TABLE attempt (
    job_id        BIGINT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number        BIGINT NOT NULL CHECK (number > 0),
    worker        TEXT   NOT NULL,
    token         TEXT   COLLATE "C" NOT NULL,
    claim_request TEXT   COLLATE "C",
    claimed_at    BIGINT NOT NULL,
    started_at    BIGINT,
    ended_at      BIGINT,
    outcome       TEXT,             -- JSON
    usage         TEXT,             -- JSON
    tail          TEXT,             -- JSON, which can say NUL
    ran           TEXT,             -- JSON: what its container was made of
    changes       TEXT,             -- JSON: what its command did to files
    log_offset    BIGINT NOT NULL DEFAULT 0,
    log_output    BIGINT NOT NULL DEFAULT 0,
    log_gap       BIGINT NOT NULL DEFAULT 0,
    log_crc32     BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- For claims that are repeated because their answer was lost.
CREATE INDEX attempt_request ON attempt (claim_request)
    WHERE claim_request IS NOT NULL AND ended_at IS NULL;

CREATE TABLE log_chunk (
    job_id     BIGINT NOT NULL,
    attempt    BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    stdout     BIGINT NOT NULL,
    stderr     BIGINT NOT NULL,
    system     BIGINT NOT NULL,
    frames     BYTEA  NOT NULL,
    PRIMARY KEY (job_id, attempt, log_offset),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number) ON DELETE CASCADE
);

CREATE TABLE worker (
    name          TEXT   COLLATE "C" PRIMARY KEY,
    registration  TEXT   NOT NULL, -- JSON
    registered_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    draining_at   BIGINT           -- since when it is handed nothing new
) WITH (fillfactor = 50);

-- Who is let in. A row stays when its token is revoked, so that nobody lets it in again.
CREATE TABLE token (
    id         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, -- never given twice
    role       TEXT   NOT NULL CHECK (role IN ('client', 'worker', 'admin')),
    name       TEXT,
    worker     TEXT   CHECK (worker IS NULL OR role = 'worker'),
    hash       TEXT   NOT NULL UNIQUE, -- SHA-256 of the token, hexadecimal
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- What was submitted with an Idempotency-Key within the last day.
CREATE TABLE submission (
    token       BIGINT NOT NULL, -- whose key it is; 0 for callers without a token
    key         TEXT   COLLATE "C" NOT NULL,
    fingerprint TEXT   NOT NULL, -- HMAC-SHA-256 of what was submitted, hexadecimal
    jobs        TEXT   NOT NULL, -- JSON: the ids that it was given
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (token, key)
);

CREATE INDEX submission_age ON submission (created_at);

-- What operators decided of queues. One that has no row hands out whatever there is.
CREATE TABLE queue (
    name        TEXT   COLLATE "C" PRIMARY KEY,
    paused_at   BIGINT,
    concurrency BIGINT CHECK (concurrency > 0) -- so many of its jobs are held at once, at most
);

-- Jobs that others wait for, until they have ended. An upstream that is deleted counts as ended,
-- which is why its rows stay until those who wait have been looked at.
CREATE TABLE dependency (
    job_id    BIGINT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    upstream  BIGINT NOT NULL,
    condition TEXT   NOT NULL CHECK (condition IN ('afterOk', 'afterAny', 'afterFailed')),
    PRIMARY KEY (job_id, upstream)
);

-- For those who wait for one that ends.
CREATE INDEX dependency_upstream ON dependency (upstream);

-- Jobs that begin at times of a calendar.
CREATE TABLE schedule (
    name           TEXT   COLLATE "C" PRIMARY KEY,
    cron           TEXT   NOT NULL,
    time_zone      TEXT   NOT NULL,
    overlap        TEXT   NOT NULL CHECK (overlap IN ('allow', 'skip', 'replace')),
    catch_up       BIGINT NOT NULL, -- milliseconds
    spec           TEXT   NOT NULL, -- of its jobs: JSON, secrets sealed
    created_at     BIGINT NOT NULL,
    paused_at      BIGINT,
    next_at        BIGINT,          -- the oldest time for which nothing was done yet
    last_time      BIGINT,          -- the newest time for which a job was begun
    last_job       BIGINT,
    skipped        BIGINT NOT NULL DEFAULT 0,
    skipped_time   BIGINT,
    skipped_reason TEXT
);

CREATE INDEX schedule_due ON schedule (next_at, name)
    WHERE paused_at IS NULL AND next_at IS NOT NULL;

-- Where the ends of jobs are told.
CREATE TABLE webhook (
    id         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, -- never given twice
    url        TEXT   NOT NULL,
    ends       TEXT   NOT NULL, -- JSON: the statuses that are told
    queue      TEXT,
    labels     TEXT   NOT NULL, -- JSON: what a job must have
    secret     TEXT   NOT NULL, -- sealed
    created_at BIGINT NOT NULL
);

-- What is to be told, written with the end that it tells of; and what became of it. The job may be
-- run again or deleted meanwhile, so what is told of it is kept here.
CREATE TABLE delivery (
    id         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, -- never given twice
    webhook    BIGINT NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    job_id     BIGINT NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('Completed', 'Failed', 'Cancelled')),
    job        TEXT   NOT NULL, -- JSON: the job at its end
    created_at BIGINT NOT NULL,
    state      TEXT   NOT NULL DEFAULT 'Pending'
        CHECK (state IN ('Pending', 'Delivered', 'GivenUp')),
    attempts   BIGINT NOT NULL DEFAULT 0,
    answer     BIGINT,          -- the last answer's status code
    error      TEXT,
    tried_at   BIGINT,
    due_at     BIGINT,
    CHECK ((due_at IS NOT NULL) = (state = 'Pending'))
);

-- For the courier: what is due, of each webhook.
CREATE INDEX delivery_due ON delivery (webhook, due_at, id) WHERE due_at IS NOT NULL;
-- For the log of a webhook, newest first.
CREATE INDEX delivery_log ON delivery (webhook, id);
-- For what the log drops.
CREATE INDEX delivery_ended ON delivery (webhook, id) WHERE due_at IS NULL;

-- Files that attempts leave. Their content stands in pieces, as it was uploaded.
CREATE TABLE artifact (
    id         BIGINT  GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job_id     BIGINT  NOT NULL,
    attempt    BIGINT  NOT NULL,
    path       TEXT    COLLATE "C" NOT NULL,
    bytes      BIGINT  NOT NULL,        -- so many are stored
    hash       BYTEA,                   -- their SHA-256, to go on with, while there may come more
    sha256     TEXT,                    -- hexadecimal, since the attempt ended with this file
    executable BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (job_id, attempt, path),
    CHECK ((hash IS NULL) = (sha256 IS NOT NULL)),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number) ON DELETE CASCADE
);

CREATE TABLE artifact_piece (
    artifact BIGINT NOT NULL REFERENCES artifact (id) ON DELETE CASCADE,
    place    BIGINT NOT NULL,           -- of its first byte
    content  BYTEA  NOT NULL,
    PRIMARY KEY (artifact, place)
);
