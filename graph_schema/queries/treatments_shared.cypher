// Treatments that two diseases share. $first and $second: ids of Disease nodes.
UNWIND $first AS one
MATCH (a:Disease {id: one})
OPTIONAL MATCH (a)-[r:FIRST_TREATED_BY|FURTHER_TREATED_BY]->(t:Treatment)
UNWIND $second AS other
MATCH (b:Disease {id: other})
OPTIONAL MATCH (b)-[q:FIRST_TREATED_BY|FURTHER_TREATED_BY]->(u:Treatment)
WITH a, r, t, b, q, u
WHERE u.id = t.id AND b.id <> a.id
MATCH (s:Source)
WHERE s.id = r.source
MATCH (z:Source)
WHERE z.id = q.source
RETURN r.fact_id AS fact_id, r.statement AS statement, r.predicate AS predicate, r.object AS object,
       r.rank AS rank, r.section AS section, r.reviewed AS reviewed, r.support AS support,
       a.id AS subject_curie, a.name AS subject, t.id AS object_curie, t.name AS object_name,
       s.id AS source, s.title AS title, s.year AS year, s.organisation AS organisation,
       q.fact_id AS fact_id_2, q.statement AS statement_2, q.predicate AS predicate_2,
       q.reviewed AS reviewed_2, q.support AS support_2, q.object AS object_2, q.rank AS rank_2,
       q.section AS section_2, b.id AS subject_curie_2, b.name AS subject_2,
       z.id AS source_2, z.title AS title_2, z.year AS year_2, z.organisation AS organisation_2
ORDER BY predicate, rank, rank_2, fact_id, fact_id_2
