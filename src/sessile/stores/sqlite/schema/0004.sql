-- Where sessions are in Redis or Valkey: what each ending means there, for each partition concerned, in order. `n` is
-- the journal's; `previous` is the row before it for the partition, 0 for its first.
CREATE TABLE ending (
    partition TEXT NOT NULL,
    n         INTEGER NOT NULL,
    previous  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    op        BLOB NOT NULL,   -- MessagePack: what is applied
    PRIMARY KEY (partition, n)
) WITHOUT ROWID;
