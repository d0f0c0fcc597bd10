// What the given names stand for. $terms: ids of Term nodes.
UNWIND $terms AS term_id
MATCH (t:Term {id: term_id})
OPTIONAL MATCH (t)-[n:NAMES]->(x)
WITH t, n, x
WHERE x.id IS NOT NULL
RETURN x.id AS id, x.name AS name, n.label AS label, n.surface AS matched, n.kind AS kind, t.text AS term
ORDER BY term, name, id
