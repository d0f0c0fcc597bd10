// What tells a disease from each of those it can be taken for. $diseases: ids of Disease nodes.
UNWIND $diseases AS disease
MATCH (d:Disease {id: disease})
OPTIONAL MATCH (d)-[r:DIFFERS_FROM]->(o:Disease)
MATCH (s:Source)
WHERE s.id = r.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
ORDER BY rank, fact_id
