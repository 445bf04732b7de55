-- What a pending job waits for: a worker, a time, other jobs, its turn. Claims read the lines of
-- those that wait for a worker, so that the others cost them nothing.
ALTER TABLE job ADD COLUMN waits_for TEXT NOT NULL DEFAULT 'worker'
    CHECK (waits_for IN ('worker', 'time', 'jobs', 'turn'));
UPDATE job SET waits_for = 'time' WHERE status = 'Pending' AND not_before IS NOT NULL;
DROP INDEX job_claimable;
CREATE INDEX job_claimable ON job (queue, demand, priority DESC, id, not_before)
    WHERE status = 'Pending' AND waits_for = 'worker';
-- For those whose time comes.
CREATE INDEX job_due ON job (not_before) WHERE status = 'Pending' AND waits_for = 'time';
