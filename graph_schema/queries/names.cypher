// Every name of every disease, as written.
MATCH (t:Term)-[n:NAMES]->(d:Disease)
RETURN d.id AS id, n.surface AS name
ORDER BY id, name
