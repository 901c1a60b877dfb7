-- How often something was tried (kernel/tries.py). Keys are digests: nothing that a stranger typed is kept.
CREATE TABLE tries (
    key      BLOB PRIMARY KEY,
    full_at  INTEGER,                     -- when the bucket is full again; NULL: nothing was counted
    in_a_row INTEGER NOT NULL DEFAULT 0,  -- tries since the last success
    until    INTEGER                      -- from when on the row says nothing; NULL: kept until it is forgotten
) WITHOUT ROWID;

CREATE INDEX tries_until ON tries (until) WHERE until IS NOT NULL;
