-- Work that waits (kernel/work.py): for its own person, or for another one's approval.
CREATE TABLE work (
    id            TEXT PRIMARY KEY,
    kind          TEXT NOT NULL,
    uid           TEXT NOT NULL,     -- whose it is
    session       TEXT NOT NULL,     -- that it is from
    giver         TEXT,              -- uid of who approved
    giver_session TEXT,
    begun         INTEGER NOT NULL,
    until         INTEGER NOT NULL,  -- from when on it is of no use
    state         TEXT NOT NULL,
    body          TEXT NOT NULL      -- JSON: all of it
) WITHOUT ROWID;

CREATE INDEX work_uid ON work (uid, kind);
CREATE INDEX work_session ON work (session);
CREATE INDEX work_giver ON work (giver) WHERE giver IS NOT NULL;
CREATE INDEX work_giver_session ON work (giver_session) WHERE giver_session IS NOT NULL;
CREATE INDEX work_until ON work (until);
