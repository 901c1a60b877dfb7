-- Credentials in outside systems (kernel/lease.py), and the work that their end means there.
CREATE TABLE lease (
    id         TEXT PRIMARY KEY,            -- of its session
    connector  TEXT NOT NULL,
    due        INTEGER,                     -- when a worker looks at it next; NULL: its end is confirmed
    over       INTEGER,                     -- since when it is known that it should be over
    lingers    INTEGER,                     -- until when it lives although all was done
    woken      INTEGER NOT NULL DEFAULT 0,  -- how often something asked for a look
    claim      TEXT,                        -- the worker that has it,
    held_until INTEGER NOT NULL DEFAULT 0,  -- until then
    keep_until INTEGER,                     -- when the row is of no more use to anybody
    body       TEXT NOT NULL                -- JSON: all of it; handle and successor are sealed
) WITHOUT ROWID;

CREATE INDEX lease_due ON lease (due) WHERE due IS NOT NULL;
CREATE INDEX lease_keep_until ON lease (keep_until) WHERE keep_until IS NOT NULL;

-- What each unconfirmed lease hangs on, as endings announce it: an ending finds its leases by this, in its own
-- transaction.
CREATE TABLE lease_tie (
    object TEXT NOT NULL,
    lease  TEXT NOT NULL,
    PRIMARY KEY (object, lease)
) WITHOUT ROWID;

CREATE INDEX lease_tie_lease ON lease_tie (lease);
