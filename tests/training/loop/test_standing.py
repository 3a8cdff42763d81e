"""What a folder says of its run is believed where it can be read, and refused in one line where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from training.errors import TrainingError
from training.loop import standing
from training.loop.distributed import Team
from training.loop.standing import Standing, look

ALONE = Team(torch.device("cpu"))


def identity(steps: int = 10, **more: Any) -> dict[str, Any]:
    return {"run": {"method": "sft", "data": "x"}, "optimizer": {"steps": steps, "lr": 0.1}, "pairs": 3, **more}


def laid(out: Path, *, begun: Any = None, result: Any = None, steps: tuple[int, ...] = ()) -> Path:
    (out / "checkpoints").mkdir(parents=True)
    for step in steps:
        (out / "checkpoints" / f"step-{step:08d}").mkdir()
    for path, content in ((out / "checkpoints" / "run.json", begun), (out / "training.json", result)):
        if content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return out


@pytest.mark.parametrize(
    ("held", "asked", "expected"),
    [
        ({}, 10, Standing()),
        ({"begun": identity()}, 10, Standing(planned=10)),
        ({"begun": identity()}, 20, Standing(planned=10)),
        ({"begun": identity(), "steps": (4, 8)}, 10, Standing(done=8, planned=10)),
        ({"begun": identity(), "steps": (4, 8)}, 20, Standing(done=8, planned=10, ends=(8,))),
        ({"begun": identity(), "steps": (4, 8)}, 8, Standing(done=8, planned=10, ends=(8,))),
        ({"begun": identity(), "steps": (10,)}, 10, Standing(done=10, planned=10)),  # stopped before its result
        ({"result": identity()}, 10, Standing(finished=True, done=10, planned=10)),
        ({"result": identity(), "begun": identity(), "steps": (10,)}, 11, Standing(done=10, planned=10, ends=(10,))),
        ({"result": identity(), "begun": identity(), "steps": (8,)}, 11, Standing(done=8, planned=10, ends=(8,))),
        # A kill came before the result of fewer steps was given up.
        ({"result": identity(), "begun": identity(20), "steps": (10,)}, 20, Standing(done=10, planned=10, ends=(10,))),
        ({"begun": identity(20, went_on_from=[10]), "steps": (15,)}, 20, Standing(done=15, planned=20, ends=(10,))),
        ({"begun": identity(20, went_on_from=[10]), "steps": (15,)}, 30, Standing(done=15, planned=20, ends=(10, 15))),
    ],
)
def test_how_far_a_run_is(held: dict[str, Any], asked: int, expected: Standing, tmp_path: Path) -> None:
    assert look(laid(tmp_path / "out", **held), identity(asked)) == expected


@pytest.mark.parametrize(
    ("held", "asked", "says"),
    [
        ({"result": identity()}, 9, "with 10 steps done, --steps 9 are fewer"),
        ({"begun": identity(), "steps": (4, 8)}, 7, "with 8 steps done, --steps 7 are fewer"),
        ({"result": identity()}, 11, "but not the checkpoint"),  # of a version that kept none
        ({"result": identity(), "steps": (10,)}, 11, "but not the checkpoint"),
        ({"result": identity(), "begun": identity()}, 11, "but not the checkpoint"),
        ({"begun": identity(20, went_on_from=[10])}, 20, "but not the checkpoint"),
        ({"result": identity(), "begun": identity(pairs=4), "steps": (10,)}, 11, "it differs in pairs"),
        ({"result": identity(pairs=4)}, 11, "it differs in pairs"),
        *(
            ({where: content}, 10, "is damaged, so whose run it is cannot be told")
            for where in ("begun", "result")
            for content in ("", "{", "[]", "null", "{}", '{"optimizer": {}}', '{"optimizer": {"steps": "many"}}',
                            json.dumps(identity(-1)), json.dumps(identity(went_on_from=3)),
                            json.dumps(identity(went_on_from=["x"])))
        ),
    ],
)  # fmt: skip
def test_what_cannot_go_on_is_one_line(held: dict[str, Any], asked: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        look(laid(tmp_path / "out", **held), identity(asked))
    assert says in str(caught.value) and "choose another --out" in str(caught.value) and "\n" not in str(caught.value)


EARLIER = "a run of an earlier version of this program, which has no "
LATER = "a run of a later version of this program, which has "


@pytest.mark.parametrize("where", ["begun", "result"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda it: it["optimizer"].pop("lr"), EARLIER + "--lr, and is not gone on with"),
        (lambda it: (it["optimizer"].pop("lr"), it["run"].pop("seed")), EARLIER + "--lr, --seed,"),
        (lambda it: it.pop("unet"), EARLIER + "--lora-rank,"),
        (lambda it: it["loss"].pop("beta"), EARLIER + "--beta,"),
        (lambda it: it["run"].update(new_thing=1), LATER + "--new-thing,"),
        (lambda it: it["loss"].update(gamma=1.0), LATER + "--gamma,"),
        (lambda it: it.update(run="text"), EARLIER + "--method, --seed,"),
        # Another loss has other options in the same version.
        (lambda it: (it["run"].update(method="ipo"), it["loss"].pop("beta")), "it differs in method, beta)"),
    ],
)
def test_a_run_of_another_version_is_told_from_one_with_other_settings(
    change: Any, says: str, where: str, tmp_path: Path
) -> None:
    now = identity(run={"method": "dpo", "seed": 0}, unet={"lora_rank": 0}, loss={"beta": 1.0})
    before = json.loads(json.dumps(now))
    change(before)
    with pytest.raises(TrainingError) as caught:
        look(laid(tmp_path / "out", **{where: before}), now)
    said = str(caught.value)
    assert says in said and "choose another --out" in said and "\n" not in said
    assert ("by --init-from" in said) is (where == "result" and "of this program" in said)


def test_what_a_finished_run_keeps(tmp_path: Path) -> None:
    out = laid(tmp_path / "out", begun=identity(), steps=(4, 8, 10))
    (out / "checkpoints" / ".step-00000002").mkdir()  # half removed
    standing.keep_last(out, ALONE)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["run.json", "step-00000010"]
    bare = laid(tmp_path / "bare", begun=identity())
    standing.keep_last(bare, ALONE)
    assert not list(bare.iterdir())
