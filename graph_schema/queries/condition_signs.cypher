// Every sign of diseases, in few words: a row a disease, its lists in one and any order. $diseases: their ids.
UNWIND $diseases AS disease
MATCH (d:Disease {id: disease})
OPTIONAL MATCH (d)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN]->(o:Sign)
RETURN d.id AS disease, collect(r.predicate) AS predicates, collect(r.rank) AS ranks,
       collect(r.fact_id) AS fact_ids, collect(r.object) AS objects
