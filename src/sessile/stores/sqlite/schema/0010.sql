-- What was noticed (kernel/trace.py), added up.
CREATE TABLE trace (
    subject  TEXT NOT NULL,     -- a session's id; of what was shown, the uid of who saw it
    kind     TEXT NOT NULL,
    what     TEXT NOT NULL,
    how      TEXT NOT NULL,
    decision TEXT NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    times    INTEGER NOT NULL,
    PRIMARY KEY (subject, kind, what, how, decision)
) WITHOUT ROWID;

CREATE INDEX trace_last ON trace (last);
CREATE INDEX trace_shown ON trace (what) WHERE kind = 'shown';

-- How many calls an agent may make, and has made since that was set (kernel/budget.py).
CREATE TABLE budget (
    uid        TEXT PRIMARY KEY,
    per_minute INTEGER,
    overall    INTEGER,
    changed    INTEGER NOT NULL,
    minute     INTEGER NOT NULL DEFAULT 0,  -- which minute `in_minute` counts
    in_minute  INTEGER NOT NULL DEFAULT 0,
    spent      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX budget_changed ON budget (changed);
