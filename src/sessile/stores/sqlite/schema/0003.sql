-- What was contained. The cut is written with the ending itself, the report by whoever has walked what hung below.
CREATE TABLE containment (
    id     TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,
    state  TEXT NOT NULL,
    cut    TEXT NOT NULL,  -- JSON
    report TEXT            -- JSON; NULL: not walked yet
) WITHOUT ROWID;

CREATE INDEX containment_open ON containment (at, id) WHERE state <> 'closed';
