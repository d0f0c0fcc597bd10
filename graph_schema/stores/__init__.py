"""Engines behind the `KnowledgeGraph` protocol."""
