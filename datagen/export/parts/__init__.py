"""What the formats share: a run's pairs one after the other, tables and archives by split, the mark, the README."""
