-- Teams: named sets of people who answer together for agents and services (kernel/team.py).
CREATE TABLE team (
    uid     text COLLATE "C" PRIMARY KEY,
    name    text COLLATE "C" NOT NULL UNIQUE,
    created bigint NOT NULL
);

CREATE TABLE team_member (
    team   text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL, -- uid of a person
    PRIMARY KEY (team, member)
);

CREATE INDEX team_member_teams ON team_member (member, team);

CREATE INDEX principal_owner ON principal (owner) WHERE owner IS NOT NULL;

-- Every agent and service has an owner. Those that had none before stay as they are, and are found (NHI1).
CREATE FUNCTION refuse_ownerless() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a service or an agent has an owner';
END $$;
CREATE TRIGGER principal_has_an_owner BEFORE INSERT ON principal
    FOR EACH ROW WHEN (NEW.kind <> 'human' AND NEW.owner IS NULL) EXECUTE FUNCTION refuse_ownerless();
CREATE TRIGGER principal_keeps_an_owner BEFORE UPDATE ON principal
    FOR EACH ROW WHEN (NEW.kind <> 'human' AND NEW.owner IS NULL AND OLD.owner IS NOT NULL)
    EXECUTE FUNCTION refuse_ownerless();
