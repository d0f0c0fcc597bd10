// The signs or sites that wordings stand for. $wordings: ids of Wording nodes. $label: Sign or Site.
UNWIND $wordings AS wording
MATCH (w:Wording {id: wording})
WHERE w.label = $label
RETURN w.node AS id, w.name AS name, w.words AS words
ORDER BY id, words
