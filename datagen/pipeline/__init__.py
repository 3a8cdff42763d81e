"""A recipe built stage after stage: what is missing is made, what failed is tried again."""
