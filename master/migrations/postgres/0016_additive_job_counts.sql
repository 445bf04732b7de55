-- How many jobs of each queue wait, and how many are held: the sums of this table's rows, so that nobody has to
-- count a million jobs. Each master adds to rows of its own, in the transaction that moves the jobs, and waits for
-- nobody. Rows without a master are one change each, of those who do not count themselves. What does not change any more
-- is added up under the name '' (store/postgres/kept.rs).
CREATE TABLE job_count (
    master     TEXT   COLLATE "C",
    queue      TEXT   COLLATE "C" NOT NULL,
    pending    BIGINT NOT NULL,
    held       BIGINT NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (master, queue)
) WITH (fillfactor = 50);

CREATE FUNCTION job_count_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.status IN ('Pending', 'Assigned', 'Running') THEN
        INSERT INTO job_count (queue, pending, held)
        VALUES (OLD.queue, -(OLD.status = 'Pending')::int, -(OLD.status <> 'Pending')::int);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.status IN ('Pending', 'Assigned', 'Running') THEN
        INSERT INTO job_count (queue, pending, held)
        VALUES (NEW.queue, (NEW.status = 'Pending')::int, (NEW.status <> 'Pending')::int);
    END IF;
    RETURN NULL;
END $$;

-- For programs from before this table, and for people. Sessions that count say so by a setting.
CREATE TRIGGER job_count_insert AFTER INSERT ON job FOR EACH ROW
    WHEN (current_setting('orchestra.counts', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION job_count_change();
CREATE TRIGGER job_count_update AFTER UPDATE OF status, queue ON job FOR EACH ROW
    WHEN (current_setting('orchestra.counts', true) IS DISTINCT FROM 'on'
          AND (OLD.status <> NEW.status OR OLD.queue <> NEW.queue))
    EXECUTE FUNCTION job_count_change();
CREATE TRIGGER job_count_delete AFTER DELETE ON job FOR EACH ROW
    WHEN (current_setting('orchestra.counts', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION job_count_change();

-- From here to the commit nobody changes a job: a trigger is not made before others have ended.
INSERT INTO job_count (master, queue, pending, held)
SELECT '', queue, count(*) FILTER (WHERE status = 'Pending'), count(*) FILTER (WHERE status <> 'Pending')
FROM job WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue;
