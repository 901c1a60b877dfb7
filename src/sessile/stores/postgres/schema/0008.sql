-- What an event says of a person. The event's body has SHA-256(salt, said) of each part instead, so that a part can be
-- erased and the record still shows that it is as it was written.
CREATE TABLE personal (
    seq    bigint NOT NULL,           -- the event
    n      integer NOT NULL,          -- which of its parts
    whose  text COLLATE "C" NOT NULL, -- a uid, or name:NAME; empty: nobody's, or erased
    salt   bytea,
    said   text,                      -- JSON; NULL: erased,
    erased bigint,                    -- by this event
    PRIMARY KEY (seq, n)
);

CREATE INDEX personal_whose ON personal (whose, seq);
