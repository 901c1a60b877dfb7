-- All above a session, nearest first, of the calling statement's instant: of each the rules of its policy, its row and
-- its principal's. A function, because a check of a session with nothing above it then does not pay for a plan.
-- Found one by one, by their ids: however few rows there are, no table is read whole.
DO $do$ BEGIN
    EXECUTE format($function$
        CREATE FUNCTION above(lineage text) RETURNS text LANGUAGE plpgsql STABLE AS $$
        BEGIN
            RETURN (
                SELECT json_agg(json_build_array(y.rules, row_to_json(s), row_to_json(p)))
                FROM json_array_elements(lineage::json) link
                    CROSS JOIN LATERAL (SELECT * FROM %1$I.session x WHERE x.id = link ->> 'session' OFFSET 0) s
                    LEFT JOIN LATERAL (SELECT * FROM %1$I.principal x WHERE x.uid = s.uid OFFSET 0) p ON true
                    LEFT JOIN %1$I.policy y ON y.name = coalesce(p.policy, 'default')
            );
        END $$
    $function$, current_schema());
END $do$;
