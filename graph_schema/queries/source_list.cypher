// Every source, with what an import recorded of itself.
MATCH (s:Source)
RETURN s.id AS id, s.title AS title, s.organisation AS organisation, s.year AS year, s.identifier AS identifier,
       s.kind AS kind, s.licence AS licence, s.version AS version, s.nodes AS nodes,
       s.relationships AS relationships, s.names AS names, s.codes AS codes, s.left_out AS left_out,
       s.rejected AS rejected
ORDER BY id
