-- What an attempt's container was made of, so that people can run the same by hand.
ALTER TABLE attempt ADD COLUMN ran TEXT; -- JSON
