"""Preference pairs from any source; images stay where they are until their bytes are needed.

`load` reads our columns and Pick-a-Pic's from tables and folders, and LiVO's folders, local or from the Hugging Face
hub. Raises TrainingError.
"""

from training.data.images import Images
from training.data.lists import Lists, as_lists
from training.data.load import load
from training.data.pairs import Pairs
from training.data.pictures import decode, to_array
from training.data.sources import find_files
from training.data.tables import Table

__all__ = ["Images", "Lists", "Pairs", "Table", "as_lists", "decode", "find_files", "load", "to_array"]
