-- What an event says of a person. The event's body has SHA-256(salt, said) of each part instead, so that a part can be
-- erased and the record still shows that it is as it was written.
CREATE TABLE personal (
    seq    INTEGER NOT NULL,  -- the event
    n      INTEGER NOT NULL,  -- which of its parts
    whose  TEXT NOT NULL,     -- a uid, or name:NAME; empty: nobody's, or erased
    salt   BLOB,
    said   TEXT,              -- JSON; NULL: erased,
    erased INTEGER,           -- by this event
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE INDEX personal_whose ON personal (whose, seq);
