-- A passkey is one person's, and is found by its own id: it signs in without a name.
CREATE UNIQUE INDEX credential_passkey ON credential (id) WHERE kind = 'passkey';
