"""CLARIFY: a specialist-guided, graph-grounded dermatology question-answering agent."""

__version__ = "0.1.0"
PROMPT_VERSION = "1"
