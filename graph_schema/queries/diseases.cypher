// Diseases by id. $diseases: ids of Disease nodes.
UNWIND $diseases AS disease
MATCH (d:Disease {id: disease})
RETURN d.id AS id, d.name AS name
