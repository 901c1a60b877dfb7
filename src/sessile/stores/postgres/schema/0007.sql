-- The record by name and by instant, for the console; and names alone, so that a search among very many reads no rows.
ALTER TABLE event ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN at bigint NOT NULL DEFAULT 0;

ALTER TABLE event DISABLE TRIGGER event_is_never_changed;
UPDATE event SET
    name = body::json ->> 'name',
    at = (extract(epoch FROM (body::json ->> 'at')::timestamptz) * 1000000)::bigint;
ALTER TABLE event ENABLE TRIGGER event_is_never_changed;

CREATE INDEX event_name ON event (name, seq);
CREATE INDEX event_at ON event (at, name);
CREATE INDEX principal_search ON principal (name, status, kind, owner);
