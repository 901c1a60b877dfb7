-- Teams: named sets of people who answer together for agents and services (kernel/team.py).
CREATE TABLE team (
    uid     TEXT PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE team_member (
    team   TEXT NOT NULL,
    member TEXT NOT NULL,         -- uid of a person
    PRIMARY KEY (team, member)
) WITHOUT ROWID;

CREATE INDEX team_member_teams ON team_member (member, team);

CREATE INDEX principal_owner ON principal (owner) WHERE owner IS NOT NULL;

-- Every agent and service has an owner. Those that had none before stay as they are, and are found (NHI1).
CREATE TRIGGER principal_has_an_owner BEFORE INSERT ON principal
WHEN NEW.kind <> 'human' AND NEW.owner IS NULL BEGIN
    SELECT raise(ABORT, 'a service or an agent has an owner');
END;
CREATE TRIGGER principal_keeps_an_owner BEFORE UPDATE ON principal
WHEN NEW.kind <> 'human' AND NEW.owner IS NULL AND OLD.owner IS NOT NULL BEGIN
    SELECT raise(ABORT, 'a service or an agent has an owner');
END;
