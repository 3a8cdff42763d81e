"""The one door for tables and folders that others made: what does not fit is refused, what is left out is said.

- `text`: the lines of a text file; UTF-8, with or without a byte-order mark.
- `rows`: `read(path)` gives the columns and rows of CSV, TSV, JSON Lines, Parquet and Arrow alike.
- `delimited`, `json_lines`, `parquet`, `arrow`: one file a format; `parquet` also streams images.
- `saved`: the Arrow files of what `save_to_disk` wrote; `tars`: the samples of a WebDataset archive.
- `layouts`: the columns of tables with two images a row, whoever published them.
- `cells`: what is a text and what is an image, for a cell of any table.
- `splits`: which split a file's name speaks of; `hub`: the files of a data set on the Hugging Face hub.
- `folders`: `walk(root)` gives pictures, tables and what was passed over; `Finder` finds files by name.
- `embeddings`: what networks made of images before.
- `items`, `sidecars`, `image_tables`, `archives`: images with their prompts, from each of these; `pictures`: from any.

Whatever is wrong is an `InputError` of one line that names file and line or row.
"""
