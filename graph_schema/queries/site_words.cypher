// Every site, as the node is called and as the facts word it.
MATCH (d:Disease)-[r:AFFECTS]->(o:Site)
RETURN DISTINCT o.id AS id, o.name AS name, r.object AS words
ORDER BY id, words
