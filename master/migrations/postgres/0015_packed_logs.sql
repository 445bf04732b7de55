-- How many bytes the frames have, where they stand packed (an LZ4 block); empty where they stand as they came.
ALTER TABLE log_chunk ADD COLUMN bytes BIGINT;
