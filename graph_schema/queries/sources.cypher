// How many facts lean on each source.
MATCH (d:Disease)-[r]->(x)
WHERE r.fact_id IS NOT NULL
RETURN r.source AS source, count(*) AS facts
ORDER BY source
