-- Endings whose descendants are still to be told of in the record (stores/walking.py).
CREATE TABLE walk (
    n     INTEGER PRIMARY KEY,  -- the number of the ending's event
    cut   TEXT NOT NULL,        -- JSON (kernel/containment.py)
    after TEXT NOT NULL,        -- how far it has come
    done  TEXT NOT NULL
);
