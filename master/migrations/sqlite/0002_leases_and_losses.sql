ALTER TABLE job ADD COLUMN lease INTEGER; -- milliseconds, where the job asks for its own
ALTER TABLE job ADD COLUMN lost  INTEGER NOT NULL DEFAULT 0;
