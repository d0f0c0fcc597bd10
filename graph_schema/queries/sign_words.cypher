// Every sign, as the node is called and as the facts word it.
MATCH (d:Disease)-[r:HAS_SIGN|HAS_DERMOSCOPIC_SIGN]->(o:Sign)
RETURN DISTINCT o.id AS id, o.name AS name, r.object AS words
ORDER BY id, words
