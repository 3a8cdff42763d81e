import json
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import ModelError
from datagen.weights import files, fit

NAMES = st.sampled_from(["a", "b.weight", "b.bias", "encoder.layers.7.weight", "position_ids"])
SHAPES = st.dictionaries(NAMES, st.sampled_from([(1,), (2, 3)]))


def content(header: bytes, body: int) -> bytes:
    return struct.pack("<Q", len(header)) + header + b"\0" * body


@given(st.one_of(st.binary(max_size=200), st.builds(content, st.binary(max_size=60), st.integers(0, 20))))
def test_no_bytes_break_the_reading_of_a_header(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            files.header(path)
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda s: st.lists(s) | st.dictionaries(st.text(max_size=3), s),
    )
)
def test_no_json_breaks_the_reading_of_a_header(values: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content(json.dumps(values).encode(), 4))
        with pytest.raises(ModelError):
            files.header(path)


@given(SHAPES, SHAPES)
def test_every_difference_that_matters_is_refused_and_counted(
    model: dict[str, tuple[int, ...]], held: dict[str, tuple[int, ...]]
) -> None:
    found = fit.compare(model, held)
    unexpected = held.keys() - model.keys() - {"position_ids"}
    missing, misshapen = model.keys() - held.keys(), [n for n in model if n in held and held[n] != model[n]]
    if not (missing or unexpected or misshapen):
        assert fit.check("unet", found) == ()
        return
    with pytest.raises(ModelError) as caught:
        fit.check("unet", found)
    counts = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    for word, names in counts.items():
        assert (f"{len(names)} {word} (" in str(caught.value)) == bool(names)


@pytest.mark.parametrize("layers", [7, 8])
def test_layers_above_a_text_encoders_last_are_noted_and_those_below_refused(layers: int) -> None:
    found = fit.Differences(unexpected=frozenset({"encoder.layers.7.weight", "encoder.layers.7.bias"}))
    if layers == 7:
        assert fit.check("te", found, "CLIPTextModel", layers) == (
            "te has 7 layers; its file holds 1 more, which are not read",
        )
    else:
        with pytest.raises(ModelError, match="2 unexpected"):
            fit.check("te", found, "CLIPTextModel", layers)
