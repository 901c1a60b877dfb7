-- The tables of SQLite's schema (see there), with what several nodes need besides. Text is ordered by its bytes.

CREATE TABLE everyone (
    one          integer PRIMARY KEY CHECK (one = 1),
    epochs       text NOT NULL,
    locked_until bigint,
    trust        bigint NOT NULL,         -- Δ in nanoseconds: what nodes trust by
    wait         bigint NOT NULL,         -- and what endings wait for; larger only while Δ is being changed
    raised       text NOT NULL DEFAULT '' -- the life of the engine in which all epochs were raised because it went back
);

CREATE TABLE policy (
    name    text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    rules   text NOT NULL
);

CREATE TABLE principal (
    uid             text COLLATE "C" PRIMARY KEY,
    name            text COLLATE "C" NOT NULL,
    kind            text NOT NULL,
    created         bigint NOT NULL,
    status          text NOT NULL,
    epoch           bytea NOT NULL,
    policy          text COLLATE "C" NOT NULL,
    scopes          text NOT NULL,
    owner           text COLLATE "C",
    purpose         text NOT NULL,
    contained_since bigint,
    contained_at    bigint
);

CREATE UNIQUE INDEX principal_name ON principal (name) WHERE status <> 'deleted';

CREATE TABLE credential (
    uid     text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    id      text COLLATE "C" NOT NULL,
    value   bytea NOT NULL,
    changed bigint NOT NULL,
    PRIMARY KEY (uid, kind, id)
);

CREATE TABLE session (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              text COLLATE "C" NOT NULL UNIQUE,
    kind            text NOT NULL,
    uid             text COLLATE "C",
    principal       text,
    parent          text COLLATE "C",
    origin          text COLLATE "C",
    lineage         text NOT NULL,
    policy          text NOT NULL,
    authentications text NOT NULL,
    created         bigint NOT NULL,
    last_seen       bigint NOT NULL,
    expires         bigint NOT NULL,
    idle            bigint,
    epoch           bytea NOT NULL,
    everyone        bytea NOT NULL,
    generation      bigint NOT NULL,
    rotated         bigint NOT NULL,
    scopes          text NOT NULL,
    client          text NOT NULL,
    label           text NOT NULL,
    ended           bigint,
    cause           text,
    ended_by        text,
    contained_since bigint,
    salt            bytea,
    keep_until      bigint NOT NULL
) WITH (fillfactor = 80); -- room for touches beside the row: `last_seen` is in no index

CREATE INDEX session_newest ON session (created, id);
CREATE INDEX session_uid ON session (uid, created, id) WHERE uid IS NOT NULL;
CREATE INDEX session_origin ON session (origin) WHERE origin IS NOT NULL;
CREATE INDEX session_parent ON session (parent) WHERE parent IS NOT NULL;
CREATE INDEX session_keep_until ON session (keep_until);

CREATE TABLE token (
    digest  bytea PRIMARY KEY,
    session bigint NOT NULL REFERENCES session (seq),
    state   text NOT NULL,
    since   bigint NOT NULL
);

CREATE INDEX token_session ON token (session);

CREATE TABLE session_data (
    session bigint PRIMARY KEY REFERENCES session (seq),
    version bigint NOT NULL,
    data    bytea NOT NULL
);

-- Numbers without gaps, in the order of the commits. `head` is random: it tells the row from the one of that number
-- in another history.
CREATE TABLE journal (
    n      bigint PRIMARY KEY,
    at     bigint NOT NULL,
    object text NOT NULL,
    head   text NOT NULL
);

CREATE TABLE event (
    seq     bigint PRIMARY KEY,
    uid     text COLLATE "C",
    session text COLLATE "C",
    body    text NOT NULL,
    chain   bytea NOT NULL
);

CREATE INDEX event_uid ON event (uid, seq) WHERE uid IS NOT NULL;
CREATE INDEX event_session ON event (session, seq) WHERE session IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit record is only appended to';
END $$;

CREATE TRIGGER event_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE fact (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE tries (
    key      bytea PRIMARY KEY,
    full_at  bigint,
    in_a_row bigint NOT NULL DEFAULT 0,
    until    bigint
);

CREATE INDEX tries_until ON tries (until) WHERE until IS NOT NULL;

CREATE TABLE containment (
    id     text COLLATE "C" PRIMARY KEY,
    at     bigint NOT NULL,
    state  text NOT NULL,
    cut    text NOT NULL,
    report text
);

CREATE INDEX containment_open ON containment (at, id) WHERE state <> 'closed';

-- What SQLite calls by these names.
CREATE FUNCTION instr(text, text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT strpos($1, $2)';
CREATE FUNCTION json_array_length(text) RETURNS integer LANGUAGE sql IMMUTABLE AS
    'SELECT pg_catalog.json_array_length($1::json)';

-- Held until the commit, and after every other lock: journal and audit record are written one after the other.
CREATE FUNCTION lock_record() RETURNS void LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock(1399157619, hashtext(current_schema() || '' record''))';

-- Append to the journal and tell every node. In a function each statement sees what was committed before it: also
-- what was, while the lock was waited for.
CREATE FUNCTION announce(at bigint, object text, head text, OUT number bigint, OUT delta bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_record();
    INSERT INTO journal (n, at, object, head)
        SELECT max(j.n) + 1, announce.at, announce.object, announce.head FROM journal j
        RETURNING n INTO number;
    PERFORM pg_notify('sessile_' || current_schema(), number || ' ' || head || ' ' || object);
    SELECT e.wait INTO delta FROM everyone e;
END $$;
