"""Texts of prompts: their quality, names of real people in them, near-duplicates, the token budget."""
