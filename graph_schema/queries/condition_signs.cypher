// Every sign of diseases, in few words. $diseases: ids of Disease nodes.
UNWIND $diseases AS disease
MATCH (d:Disease {id: disease})
OPTIONAL MATCH (d)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN]->(o:Sign)
RETURN d.id AS disease, r.fact_id AS fact_id, r.object AS object
ORDER BY disease, r.predicate, r.rank, fact_id
