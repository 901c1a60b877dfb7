CREATE TABLE trace (
    subject  text COLLATE "C" NOT NULL,
    kind     text COLLATE "C" NOT NULL,
    what     text COLLATE "C" NOT NULL,
    how      text COLLATE "C" NOT NULL,
    decision text COLLATE "C" NOT NULL,
    first    bigint NOT NULL,
    last     bigint NOT NULL,
    times    bigint NOT NULL,
    PRIMARY KEY (subject, kind, what, how, decision)
);

CREATE INDEX trace_last ON trace (last);
CREATE INDEX trace_shown ON trace (what) WHERE kind = 'shown';

CREATE TABLE budget (
    uid        text COLLATE "C" PRIMARY KEY,
    per_minute bigint,
    overall    bigint,
    changed    bigint NOT NULL,
    minute     bigint NOT NULL DEFAULT 0,
    in_minute  bigint NOT NULL DEFAULT 0,
    spent      bigint NOT NULL DEFAULT 0
);

CREATE INDEX budget_changed ON budget (changed);
