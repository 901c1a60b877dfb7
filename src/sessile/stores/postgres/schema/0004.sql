CREATE TABLE cursor (
    name text COLLATE "C" PRIMARY KEY,
    seq  bigint NOT NULL
);

CREATE TABLE mail (
    id       text COLLATE "C" PRIMARY KEY,
    seq      bigint NOT NULL,
    uid      text COLLATE "C" NOT NULL,
    address  text COLLATE "C" NOT NULL,
    due      bigint NOT NULL,
    until    bigint NOT NULL,
    attempts bigint NOT NULL
);

CREATE INDEX mail_due ON mail (due, id);

-- Addresses are found by their own id, the digest of what is written down.
CREATE INDEX credential_address ON credential (id) WHERE kind = 'address';
