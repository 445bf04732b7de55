-- Jobs that others wait for, until they have ended. An upstream that is deleted counts as ended,
-- which is why its rows stay until those who wait have been looked at.
CREATE TABLE dependency (
    job_id    INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    upstream  INTEGER NOT NULL,
    condition TEXT    NOT NULL CHECK (condition IN ('afterOk', 'afterAny', 'afterFailed')),
    PRIMARY KEY (job_id, upstream)
) STRICT, WITHOUT ROWID;

-- For those who wait for one that ends.
CREATE INDEX dependency_upstream ON dependency (upstream);

-- The first job of its array, and its own index.
ALTER TABLE job ADD COLUMN array_id INTEGER;
ALTER TABLE job ADD COLUMN array_index INTEGER;

-- For the turns of an array.
CREATE INDEX job_array ON job (array_id, waits_for, id)
    WHERE array_id IS NOT NULL AND status IN ('Pending', 'Assigned', 'Running');
