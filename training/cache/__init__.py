"""Latents and text embeddings computed once and mapped from disk."""
