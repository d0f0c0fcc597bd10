"""How people reach CLARIFY; each file a thin skin over `ClarifyAnswer`."""
