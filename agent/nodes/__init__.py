"""One node a file; wiring lives in `clarify.agent.graph`."""
