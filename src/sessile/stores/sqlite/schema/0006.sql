-- How far readers of the audit record have come, by their names.
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) WITHOUT ROWID;

-- Mails to be sent: whom to tell which event. Texts are made when they are sent, so no link waits here.
CREATE TABLE mail (
    id       TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,  -- of the event
    uid      TEXT NOT NULL,
    address  TEXT NOT NULL,
    due      INTEGER NOT NULL,
    until    INTEGER NOT NULL,  -- from when on it is of no use
    attempts INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX mail_due ON mail (due, id);

-- Addresses are found by their own id, the digest of what is written down.
CREATE INDEX credential_address ON credential (id) WHERE kind = 'address';
