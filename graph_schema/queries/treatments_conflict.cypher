// Treatments of one disease that must be avoided in another: the same node, or one whose name holds the
// other's ("laser or cryotherapy", "cryotherapy"). $first: ids of the treated, $second: of the other diseases.
UNWIND $first AS one
MATCH (a:Disease {id: one})
OPTIONAL MATCH (a)-[r:FIRST_TREATED_BY|FURTHER_TREATED_BY]->(t:Treatment)
UNWIND $second AS other
MATCH (b:Disease {id: other})
OPTIONAL MATCH (b)-[q:AVOIDS]->(u:Treatment)
WITH a, r, t, b, q, u
WHERE b.id <> a.id
  AND (u.id = t.id OR (' ' + toLower(u.name) + ' ') CONTAINS (' ' + toLower(t.name) + ' ')
       OR (' ' + toLower(t.name) + ' ') CONTAINS (' ' + toLower(u.name) + ' '))
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
       q.section AS section_2, b.id AS subject_curie_2, b.name AS subject_2, u.id AS object_curie_2, u.name AS object_name_2,
       z.id AS source_2, z.title AS title_2, z.year AS year_2, z.organisation AS organisation_2
ORDER BY predicate, rank, rank_2, fact_id, fact_id_2
