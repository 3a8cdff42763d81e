"""Models that several judges look through: one file a library."""
