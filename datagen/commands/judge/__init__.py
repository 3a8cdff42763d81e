"""Scores for images that already exist: `datagen judge`.

- `choices`: the judges by name and option, and who of them can be asked here.
- `call`: one call from beginning to end.
- `rows`: what is written of each image or pair, and how it is asked for; `shards`: what is done and gone on with.
- `merge`: the shards become files; `tally`: what the numbers were, `trust`: how often they were right; `report`: both
  in lines of text.
- `labels`: which image of a pair is known to be the better one; `explain`: a page with a few of the images.
"""

from datagen.commands.judge.call import Options, judge_path
from datagen.commands.judge.choices import choose
from datagen.commands.judge.merge import Summary
from datagen.commands.judge.rows import Judged

__all__ = ["Judged", "Options", "Summary", "choose", "judge_path"]
