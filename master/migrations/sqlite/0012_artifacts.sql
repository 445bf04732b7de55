-- Files that attempts leave. Their content stands in pieces, as it was uploaded.
CREATE TABLE artifact (
    id         INTEGER PRIMARY KEY,
    job_id     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    path       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,           -- so many are stored
    hash       BLOB,                       -- their SHA-256, to go on with, while there may come more
    sha256     TEXT,                       -- hexadecimal, since the attempt ended with this file
    executable INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, attempt, path),
    CHECK ((hash IS NULL) = (sha256 IS NOT NULL)),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE artifact_piece (
    artifact INTEGER NOT NULL REFERENCES artifact (id) ON DELETE CASCADE,
    place    INTEGER NOT NULL,             -- of its first byte
    content  BLOB    NOT NULL,
    PRIMARY KEY (artifact, place)
) STRICT;

-- What an attempt's command did to the files in its folder.
ALTER TABLE attempt ADD COLUMN changes TEXT; -- JSON
