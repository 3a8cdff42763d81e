"""The formats a finished run can be read in, one file each; an export reads the run's tables and never alters them."""
