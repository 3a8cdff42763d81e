"""What an evaluation measures: pictures in, figures with intervals out; one file a family of figures.

Every family is a function from `observations.Observations` of the pictures to named figures (`bootstrap.Figure`).
"""
