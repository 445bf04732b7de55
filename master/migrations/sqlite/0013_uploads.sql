-- Files that were brought before the jobs that have them. Their content stands in pieces.
CREATE TABLE upload (
    id         INTEGER PRIMARY KEY,
    sha256     TEXT    NOT NULL UNIQUE,    -- hexadecimal, of the whole content
    bytes      INTEGER NOT NULL,           -- so many are stored
    hash       BLOB,                       -- their SHA-256, to go on with, until it is the whole
    touched_at INTEGER NOT NULL            -- when somebody brought some of it last
) STRICT;

CREATE INDEX upload_touched ON upload (touched_at);

CREATE TABLE upload_piece (
    upload  INTEGER NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    place   INTEGER NOT NULL,              -- of its first byte
    content BLOB    NOT NULL,
    PRIMARY KEY (upload, place)
) STRICT;

-- What keeps an upload: the jobs that have it.
CREATE TABLE job_upload (
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    upload INTEGER NOT NULL REFERENCES upload (id),
    PRIMARY KEY (job_id, upload)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_upload_upload ON job_upload (upload);
