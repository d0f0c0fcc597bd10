"""The knowledge graph: schema, sourced facts, stores, queries and linking."""
