"""Encoded pictures: what kind they are, and how a viewer would show them."""
