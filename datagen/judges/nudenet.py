"""NudeNet v3: which parts of bodies a picture shows bare or covered, by a YOLOv8 under AGPL-3.0 that you fetch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import views
from datagen.judges.networks import detections
from datagen.weights import onnx
from datagen.weights.published import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

VERSION = "1"
FILE = "320n.onnx"
WEIGHTS = File("nudenet", "the package nudenet 3.4.2 (nudenet/320n.onnx in its wheel)", FILE, "c15d8273")
SIDE = 320  # pixels, where a file does not say otherwise
# As the network counts them.
LABELS = (
    "FEMALE_GENITALIA_COVERED", "FACE_FEMALE", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED", "ANUS_EXPOSED", "FEET_EXPOSED", "BELLY_COVERED", "FEET_COVERED", "ARMPITS_COVERED",
    "ARMPITS_EXPOSED", "FACE_MALE", "BELLY_EXPOSED", "MALE_GENITALIA_EXPOSED", "ANUS_COVERED",
    "FEMALE_BREAST_COVERED", "BUTTOCKS_COVERED",
)  # fmt: skip
UNSAFE = (
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "ANUS_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)


class Options(judges.Options):
    """`weights` is 320n.onnx, 640m.onnx or the folder of one; "" is where `datagen doctor` looks, or in the installed
    package. `channels` is the order of colours that the network is given: "bgr" as the package does with files, or
    "rgb", as it was trained."""

    weights: str = ""
    channels: Literal["bgr", "rgb"] = "bgr"


class Judge:
    """The surest box of each kind, 0 where there is none, and first the surest of those that are not safe."""

    name = "nudenet"
    scale = 5.0  # from one end of its range to the other
    facts = judges.Facts(
        code_license="AGPL-3.0 of the reference, whose code is not used",
        weights_license="AGPL-3.0, as the file says of itself (its package says MIT)",
        reference="nudenet 3.4.2",
        categories=("unsafe", *LABELS),
        higher_is_better=False,
        reads_text=False,
        absolute=True,
    )

    def __init__(self, options: Options) -> None:
        self._path, self._bgr = _find(options.weights), options.channels == "bgr"
        onnx.check(f"the judge {self.name}")

    @functools.cached_property
    def version(self) -> str:
        """Ours, the order of colours and the weights'."""
        return f"{VERSION}:{'bgr' if self._bgr else 'rgb'}:{onnx.digest(self._path)}"

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> judges.Scores:
        """(N, 19) float64, 0…1, whatever the prompts; it never abstains. One picture at a time goes through."""
        import numpy as np

        return np.stack([self._one(image) for image in images]) if images else np.zeros((0, 1 + len(LABELS)))

    def _one(self, image: Image) -> NDArray[np.float64]:
        import numpy as np

        session, view = self._loaded
        pixels = view(image)[..., ::-1] if self._bgr else view(image)
        output = onnx.run(f"the network in {self._path}", session, views.normalise([pixels], view))
        if output.shape[:2] != (1, 4 + len(LABELS)):
            raise ModelError(f"{self._path} gives {output.shape}, not NudeNet's {len(LABELS)} classes: {AGAIN}")
        surest = np.zeros(len(LABELS))
        np.maximum.at(surest, *detections.found(output[0], len(pixels), *image.size))
        return np.concatenate([[max(surest[LABELS.index(name)] for name in UNSAFE)], surest])

    @functools.cached_property
    def _loaded(self) -> tuple[Any, views.View]:
        """The network, and the view of the size that it was trained with."""
        session = onnx.load(self._path)
        said = session.get_modelmeta().custom_metadata_map
        try:
            names = ast.literal_eval(said["names"]) if "names" in said else dict(enumerate(LABELS))
            side = int(ast.literal_eval(said["imgsz"])[0]) if "imgsz" in said else SIDE
        except (ValueError, SyntaxError, TypeError, LookupError) as error:
            raise ModelError(f"{self._path} does not say what it finds: {AGAIN}") from error
        if names != dict(enumerate(LABELS)):
            raise ModelError(f"{self._path} finds other things than NudeNet: {AGAIN}")
        return session, views.letterbox_bottom_right(side)


AGAIN = f"give {FILE} of {WEIGHTS.publisher}"


def _find(given: str) -> Path:
    """The weights, in the installed package too. Raises ModelError."""
    package = importlib.util.find_spec("nudenet")
    for folder in (package.submodule_search_locations or ()) if package and not given else ():
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    return WEIGHTS.find(given)
