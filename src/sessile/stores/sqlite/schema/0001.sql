-- Instants are microseconds since 1970 in UTC; spans are microseconds. JSON is written by msgspec.

CREATE TABLE everyone (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    epochs       TEXT NOT NULL,  -- JSON: kind of session to the epoch of everybody for it, in hexadecimal
    locked_until INTEGER         -- until when only operators can sign in
);

CREATE TABLE policy (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    rules   TEXT NOT NULL        -- JSON: the whole policy
) WITHOUT ROWID;

CREATE TABLE principal (
    uid             TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    created         INTEGER NOT NULL,
    status          TEXT NOT NULL,
    epoch           BLOB NOT NULL,
    policy          TEXT NOT NULL,
    scopes          TEXT NOT NULL,  -- JSON
    owner           TEXT,
    purpose         TEXT NOT NULL,
    contained_since INTEGER,
    contained_at    INTEGER
) WITHOUT ROWID;

-- A deleted principal's name can be taken again.
CREATE UNIQUE INDEX principal_name ON principal (name) WHERE status <> 'deleted';

CREATE TABLE credential (
    uid     TEXT NOT NULL,
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    value   BLOB NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (uid, kind, id)
) WITHOUT ROWID;

CREATE TABLE session (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL,
    uid             TEXT,
    principal       TEXT,
    parent          TEXT,
    origin          TEXT,
    lineage         TEXT NOT NULL,        -- JSON
    policy          TEXT NOT NULL,
    authentications TEXT NOT NULL,        -- JSON
    created         INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    idle            INTEGER,
    epoch           BLOB NOT NULL,
    everyone        BLOB NOT NULL,
    generation      INTEGER NOT NULL,
    rotated         INTEGER NOT NULL,
    scopes          TEXT NOT NULL,        -- JSON
    client          TEXT NOT NULL,        -- JSON
    label           TEXT NOT NULL,
    ended           INTEGER,
    cause           TEXT,
    ended_by        TEXT,
    contained_since INTEGER,
    salt            BLOB,                 -- what the pending successor is derived with; NULL: none is pending
    keep_until      INTEGER NOT NULL      -- when the tombstone is of no more use to anybody
);

CREATE INDEX session_newest ON session (created, id);
CREATE INDEX session_uid ON session (uid, created, id) WHERE uid IS NOT NULL;
CREATE INDEX session_origin ON session (origin) WHERE origin IS NOT NULL;
CREATE INDEX session_parent ON session (parent) WHERE parent IS NOT NULL;
CREATE INDEX session_keep_until ON session (keep_until);

-- Every token that a session knows, by the SHA-256 of the token: the current one, a pending successor, and up to
-- eight that were rotated out.
CREATE TABLE token (
    digest  BLOB PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session (seq),
    state   TEXT NOT NULL,
    since   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX token_session ON token (session);

-- The application's data. A row of its own, so that writing it announces nothing and checks do not read it.
CREATE TABLE session_data (
    session INTEGER PRIMARY KEY REFERENCES session (seq),
    version INTEGER NOT NULL,
    data    BLOB NOT NULL
);

-- What turned a yes into a no, in order. Never empty: the first row is the birth of the store, and the last one is
-- kept, so that a reader can tell a file that went back in time from one where nothing happened.
CREATE TABLE journal (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    object TEXT NOT NULL
);

-- The audit record. Each row's chain is SHA-256(the chain before it, body), 32 zero bytes before the first.
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    uid     TEXT,
    session TEXT,
    body    TEXT NOT NULL,  -- JSON, keys sorted: the whole event
    chain   BLOB NOT NULL
);

CREATE INDEX event_uid ON event (uid, seq) WHERE uid IS NOT NULL;
CREATE INDEX event_session ON event (session, seq) WHERE session IS NOT NULL;

CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN
    SELECT raise(ABORT, 'the audit record is only appended to');
END;

CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event BEGIN
    SELECT raise(ABORT, 'the audit record is only appended to');
END;

CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
