"""What the generalist calls: the specialist and the knowledge graph."""
