// Hash of the content that was loaded last.
MATCH (g:GraphInfo {id: "graph"})
RETURN g.version AS version
