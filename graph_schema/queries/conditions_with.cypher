// The facts that give diseases one of these signs or sites, in any order. $nodes: ids of Sign and Site nodes.
UNWIND $nodes AS node
MATCH (o:Sign {id: node})
OPTIONAL MATCH (d:Disease)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN]->(o)
MATCH (s:Source)
WHERE s.id = r.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
UNION ALL
UNWIND $nodes AS node
MATCH (o:Site {id: node})
OPTIONAL MATCH (d:Disease)-[r:AFFECTS]->(o)
MATCH (s:Source)
WHERE s.id = r.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
