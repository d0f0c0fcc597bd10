"""How the shipped segmenter came to be."""
