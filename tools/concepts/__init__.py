"""What a dual encoder sees (MAKE, arXiv 2505.09372): visual concepts, and any disease by its name."""
