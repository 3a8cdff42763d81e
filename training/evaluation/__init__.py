"""What an evaluation measures: pictures in, figures with intervals out; one file a family of figures.

Every family is a function from what was seen in the pictures (`seen.Seen`) to named figures (`bootstrap.Figure`).
"""
