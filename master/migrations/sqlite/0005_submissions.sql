-- What was submitted with an Idempotency-Key within the last day.
CREATE TABLE submission (
    token       INTEGER NOT NULL, -- whose key it is; 0 for callers without a token
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL, -- HMAC-SHA-256 of what was submitted, hexadecimal
    jobs        TEXT    NOT NULL, -- JSON: the ids that it was given
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX submission_age ON submission (created_at);
