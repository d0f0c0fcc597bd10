"""How nano came to be: made-up dialogues, training from nothing, export in NF4."""
