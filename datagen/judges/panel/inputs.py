"""The images of a chunk in every form that its judges read: decoded once, each view and each embedding made once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from datagen import judges
from datagen.errors import ModelError
from datagen.images.decode import Unreadable, decode
from datagen.judges.panel.entries import Question
from datagen.judges.protocol import Backbone
from datagen.judges.views import make

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Inputs:
    """The images of a chunk in every form that its judges read, each made once."""

    def __init__(
        self, wanted: Sequence[Any], forms: Sequence[Any], embeddings: dict[str, NDArray[np.float32]]
    ) -> None:
        self._views = {view: [form[view] for form in forms] for view in wanted}
        self._embeddings = embeddings

    def of(self, judge: judges.Judge, places: list[int]) -> Any:
        """What a judge is given for the images of these places: one object an image, or rows of its embeddings."""
        need: Any = getattr(judge, "needs", None)
        if embeds(need):
            return self.embedded(need)[places]
        forms = self._views[need]
        return [forms[place] for place in places]

    def embedded(self, backbone: Backbone) -> NDArray[np.float32]:
        """(images, D), made once a chunk."""
        import numpy as np

        if backbone.identity not in self._embeddings:
            views = self._views.get(backbone.view, [])  # none where all images of the chunk failed
            made = backbone.images(views) if views else np.zeros((0, 0), np.float32)
            if not np.isfinite(made).all():
                raise ModelError(f"{backbone.identity} gives embeddings that are not finite numbers")
            self._embeddings[backbone.identity] = made
        return self._embeddings[backbone.identity]


def backbones(panel: Iterable[judges.Judge]) -> dict[str, Backbone]:
    """The networks whose embeddings the judges read, by identity; each once."""
    needs = (getattr(judge, "needs", None) for judge in panel)
    return {need.identity: need for need in needs if embeds(need)}


def wanted_views(panel: Iterable[judges.Judge], known: Collection[str]) -> tuple[Any, ...]:
    """The views that the judges and their backbones read, None for the picture itself; of a backbone whose embeddings
    are known none."""
    needs: list[Any] = [getattr(judge, "needs", None) for judge in panel]
    needs = [need for need in needs if not (embeds(need) and need.identity in known)]
    return tuple(dict.fromkeys(need.view if embeds(need) else need for need in needs))


def embeds(need: Any) -> TypeGuard[Backbone]:
    """Whether a judge needs a backbone; asked of a method, as a property might load its network."""
    return hasattr(need, "images")


def forms_of(question: Question, wanted: Sequence[Any], at_least: int | None) -> Any:
    """The image in each view, or in words why there is none; empty where nobody has to look."""
    if question.error is not None:
        return question.error
    if not wanted:
        return {}
    if question.source is None:
        return "no image"
    if not isinstance(question.source, bytes | Path):
        return _brought(question.source, wanted)
    try:
        return _brought(decode(question.source, at_least), wanted)
    except Unreadable as error:
        return str(error)


def _brought(image: Any, wanted: Sequence[Any]) -> dict[Any, Any]:
    """A picture in each view."""
    forms: dict[Any, Any] = {None: image} if None in wanted else {}
    return forms | make(image, [view for view in wanted if view is not None])


def stacked(names: set[str], known: list[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """The embeddings that are known of every image of a chunk, one array a backbone."""
    import numpy as np

    if not known:
        return {}
    return {name: np.concatenate([one[name] for one in known]).reshape(len(known), -1) for name in names}
