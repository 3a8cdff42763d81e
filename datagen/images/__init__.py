"""Encoded pictures: read as a viewer would show them, and found in folders and tables."""
