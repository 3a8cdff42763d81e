"""A page on loopback where a person labels a sample of a run's pairs; each answer is kept before the next is asked.

`journal` keeps the answers, `sample` chooses the pairs, `session` knows what is next, `server` asks it in a browser,
and `outcome` says what the answers tell of the labels.
"""
