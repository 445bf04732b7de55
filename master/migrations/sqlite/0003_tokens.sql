-- Who is let in. A row stays when its token is revoked, so that nobody lets it in again.
CREATE TABLE token (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    role       TEXT    NOT NULL CHECK (role IN ('client', 'worker', 'admin')),
    name       TEXT,
    worker     TEXT CHECK (worker IS NULL OR role = 'worker'),
    hash       TEXT    NOT NULL UNIQUE,           -- SHA-256 of the token, hexadecimal
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
