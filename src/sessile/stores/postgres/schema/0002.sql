-- Where sessions are in Redis or Valkey: what each ending means there, for each partition concerned, in order. `n` is
-- the journal's; `previous` is the row before it for the partition, 0 for its first.
CREATE TABLE ending (
    partition text NOT NULL,
    n         bigint NOT NULL,
    previous  bigint NOT NULL,
    at        bigint NOT NULL,
    op        bytea NOT NULL,   -- MessagePack: what is applied
    PRIMARY KEY (partition, n)
);
