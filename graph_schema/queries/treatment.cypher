// What is done first, what else can be done, and what must not be done. $diseases: ids of Disease nodes.
UNWIND $diseases AS disease
MATCH (d:Disease {id: disease})
OPTIONAL MATCH (d)-[r:FIRST_TREATED_BY|FURTHER_TREATED_BY|AVOIDS]->(o:Treatment)
MATCH (s:Source)
WHERE s.id = r.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       d.id AS subject_curie, d.name AS subject, o.id AS object_curie, o.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation
ORDER BY rank, fact_id
