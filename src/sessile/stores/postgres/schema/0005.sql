-- Credentials in outside systems (kernel/lease.py), and the work that their end means there. See SQLite's schema.
CREATE TABLE lease (
    id         text COLLATE "C" PRIMARY KEY,
    connector  text NOT NULL,
    due        bigint,
    over       bigint,
    lingers    bigint,
    woken      bigint NOT NULL DEFAULT 0,
    claim      text,
    held_until bigint NOT NULL DEFAULT 0,
    keep_until bigint,
    body       text NOT NULL
);

CREATE INDEX lease_due ON lease (due) WHERE due IS NOT NULL;
CREATE INDEX lease_keep_until ON lease (keep_until) WHERE keep_until IS NOT NULL;

CREATE TABLE lease_tie (
    object text COLLATE "C" NOT NULL,
    lease  text COLLATE "C" NOT NULL,
    PRIMARY KEY (object, lease)
);

CREATE INDEX lease_tie_lease ON lease_tie (lease);
