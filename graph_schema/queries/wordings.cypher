// The signs or sites that wordings stand for. $wordings: ids of Wording nodes. $label: Sign or Site.
UNWIND $wordings AS wording
MATCH (w:Wording {id: wording})
OPTIONAL MATCH (w)-[n:WORDS]->(x)
WITH n, x
WHERE n.label = $label
RETURN DISTINCT x.id AS id, x.name AS name, n.surface AS words
ORDER BY id, words
