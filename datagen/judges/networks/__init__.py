"""Networks that one judge alone reads: their published files, their forward pass, no opinion on what a score means."""
