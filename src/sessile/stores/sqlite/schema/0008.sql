-- The record by name and by instant, for the console; and names alone, so that a search among very many reads no rows.
ALTER TABLE event ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER event_is_never_changed;
UPDATE event SET
    name = json_extract(body, '$.name'),
    at = CAST(strftime('%s', json_extract(body, '$.at')) AS INTEGER) * 1000000
        + CASE substr(json_extract(body, '$.at'), 20, 1)
            WHEN '.' THEN CAST(substr(json_extract(body, '$.at') , 21, 6) AS INTEGER) ELSE 0 END;
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN
    SELECT raise(ABORT, 'the audit record is only appended to');
END;

CREATE INDEX event_name ON event (name, seq);
CREATE INDEX event_at ON event (at, name);
CREATE INDEX principal_search ON principal (name, status, kind, owner);
