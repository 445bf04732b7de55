-- What a job asks for that not every worker allows, as one text; '' for nothing in particular.
-- It stands in the claimable index, so that a worker passes over what it cannot take.
ALTER TABLE job ADD COLUMN demand TEXT NOT NULL DEFAULT '';
DROP INDEX job_claimable;
CREATE INDEX job_claimable ON job (queue, demand, priority DESC, id, not_before)
    WHERE status = 'Pending';
