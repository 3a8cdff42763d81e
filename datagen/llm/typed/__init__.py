"""Typed replies: the schema that is asked for, and what is made of the text that comes."""
