// Every sign of diseases, in few words. $diseases: ids of Disease nodes.
MATCH (d:Disease)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN]->(o:Sign)
WHERE d.id IN $diseases
RETURN d.id AS disease, r.fact_id AS fact_id, r.object AS object
ORDER BY disease, r.predicate, r.rank, fact_id
