-- Work that waits (kernel/work.py): for its own person, or for another one's approval.
CREATE TABLE work (
    id            text COLLATE "C" PRIMARY KEY,
    kind          text NOT NULL,
    uid           text COLLATE "C" NOT NULL, -- whose it is
    session       text COLLATE "C" NOT NULL, -- that it is from
    giver         text COLLATE "C",          -- uid of who approved
    giver_session text COLLATE "C",
    begun         bigint NOT NULL,
    until         bigint NOT NULL,           -- from when on it is of no use
    state         text NOT NULL,
    body          text NOT NULL              -- JSON: all of it
);

CREATE INDEX work_uid ON work (uid, kind);
CREATE INDEX work_session ON work (session);
CREATE INDEX work_giver ON work (giver) WHERE giver IS NOT NULL;
CREATE INDEX work_giver_session ON work (giver_session) WHERE giver_session IS NOT NULL;
CREATE INDEX work_until ON work (until);
