"""Typed settings of the three programs, in groups: from flags, from TOML files and from `--set group.key=value`.

Each option is declared once, as a field of a group in training.py, evaluation.py or sampling.py, or as a keyword
argument of a loss. Flag, TOML key, help, bounds, the message for a wrong value and the tables in docs/ come from it.
"""
