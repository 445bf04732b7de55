-- For what is not kept any more: of jobs that have ended, those that ended first.
CREATE INDEX job_ended ON job (finished_at, id)
    WHERE status IN ('Completed', 'Failed', 'Cancelled');
