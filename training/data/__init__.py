"""Preference pairs from any source; images stay where they are until their bytes are needed.

`load` reads our columns, Pick-a-Pic's and LiVO's folders, local or from the Hugging Face hub. Raises TrainingError.
"""

from training.data.files import find_files, read_table
from training.data.images import Images
from training.data.lists import Lists, as_lists
from training.data.load import load
from training.data.pairs import Pairs
from training.data.pictures import decode, to_array

__all__ = ["Images", "Lists", "Pairs", "as_lists", "decode", "find_files", "load", "read_table", "to_array"]
