"""The verbs of the command line, one file each; `cli` holds their signatures and nothing else."""
