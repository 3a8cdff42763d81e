"""Builds a recipe stage by stage: makes what is missing, retries what failed."""
