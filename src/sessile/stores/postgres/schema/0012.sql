-- Endings whose descendants are still to be told of in the record (stores/walking.py).
CREATE TABLE walk (
    n     bigint PRIMARY KEY,  -- the number of the ending's event
    cut   text NOT NULL,       -- JSON (kernel/containment.py)
    after text NOT NULL,       -- how far it has come
    done  text NOT NULL
);
