"""The one door for tables and folders that others made: what does not fit is refused, what is left out is said.

- `text`: the lines of a text file; UTF-8, with or without a byte-order mark.
- `rows`: `read(path)` gives the columns and rows of CSV, TSV, JSON Lines and Parquet alike.
- `delimited`, `json_lines`, `parquet`: one file a format; `parquet` also streams images.
- `cells`: what is a text and what is an image, for a cell of any table.
- `splits`: which split a file's name speaks of.
- `folders`: `walk(root)` gives pictures, tables and what was passed over; `Finder` finds files by name.
- `pictures`: existing images with their prompts, from any of these.

Whatever is wrong is an `InputError` of one line that names file and line or row.
"""
