// The facts that give diseases one of these signs or sites. $nodes: ids of Sign and Site nodes.
MATCH (d:Disease)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN|AFFECTS]->(o)
WHERE o.id IN $nodes
MATCH (s:Source)
WHERE s.id = r.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
ORDER BY subject, subject_curie, predicate, rank, fact_id
