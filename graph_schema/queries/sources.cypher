// How many facts lean on each source.
MATCH (a)-[r]->(b)
WHERE r.fact_id IS NOT NULL
RETURN r.source AS source, count(*) AS facts
ORDER BY source
