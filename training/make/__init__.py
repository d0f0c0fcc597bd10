"""MAKE: multi-aspect knowledge-enhanced pretraining of a dual encoder (arXiv 2505.09372)."""
