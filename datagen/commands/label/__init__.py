"""Labels for images that exist already: `datagen label` makes a run directory of what `datagen judge` wrote.

- `scores`: what the files of scores say, read strictly; `joined`: several files of one input together.
- `groups`: which images belong to one prompt, and what of the input is left out.
- `pictures`: the images found again where they were judged, each held against its digest.
- `tables`: the rows of the run, `filling`: how they come into it; `call`: one call from beginning to end.
"""

from datagen.commands.label.call import Labelled, Options, label_scores

__all__ = ["Labelled", "Options", "label_scores"]
