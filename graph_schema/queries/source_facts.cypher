// Every fact that leans on one source. $source: id of a Source node.
MATCH (s:Source {id: $source})
MATCH (d)-[r]->(o)
WHERE r.source = s.id AND r.fact_id IS NOT NULL
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
ORDER BY subject, predicate, rank, fact_id
