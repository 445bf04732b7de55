-- Nothing: the one master of a file keeps its numbers of jobs in memory (store/counts.rs).
SELECT 1;
