"""Batches as functions of (seed, step, place): cut anywhere they are the same, and each loss finds its columns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import copy, reset

from training import data
from training.cache import latents
from training.loop import batches
from training.loop.batches import Batches, TrainingBatch, chosen_first, laid_out, relabelled, reranked
from training.loop.order import batch_rows
from training.models import diffusion
from training.settings.training import parse


def loading(folder: Path, dataset: Path, *more: str, **columns: Any) -> Batches:
    """The batches of a run with these flags, on the pairs of `dataset` with these columns."""
    settings = parse(["--data", str(dataset), "--model", str(folder), "--out", "x", "--batch", "8", *more])
    pairs = dataclasses.replace(data.load(str(dataset)), **columns)
    model = diffusion.load(str(folder))
    store = latents.open_or_build(
        model, pairs.images, batches.texts(pairs, settings), resolution=settings.run.resolution or model.resolution
    )
    return Batches(batches.samples(pairs, settings), store, model, settings)


def tensors(batch: TrainingBatch) -> dict[str, torch.Tensor]:
    values = {**vars(batch.pairs), **vars(batch.pairs.image_context()), "reward_gap": batch.reward_gap}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def test_batches_cover_the_data_pass_by_pass() -> None:
    seen = torch.cat([batch_rows(10, 4, seed=7, step=s) for s in range(5)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert torch.equal(batch_rows(3, 8, seed=0, step=2), batch_rows(3, 8, seed=0, step=2))
    assert len(batch_rows(3, 8, seed=0, step=2)) == 8


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    "line", [["--method", "livo"], ["--method", "mapo", "--uncond-share", "0.3"], ["--method", "kto"]]
)
def test_parts_are_what_the_whole_is_cut_into(
    family: str, line: list[str], dataset: Path, request: pytest.FixtureRequest
) -> None:
    made = loading(request.getfixturevalue(f"{family}_folder"), dataset, *line)
    whole, part = made.get(3, range(8)), made.get(3, range(2, 5))
    expected = whole.pairs.part(slice(2, 5))
    for name, value in tensors(part).items():
        held = {**vars(expected), **vars(expected.image_context())}[name]
        assert torch.equal(value, held), name
    assert part.pairs.other_principles == expected.other_principles
    assert not torch.equal(whole.pairs.latents, made.get(4, range(8)).pairs.latents)


def test_images_of_a_pair_share_noise_and_timestep_but_for_kto(sd15_folder: Path, dataset: Path) -> None:
    pair, alone = (loading(sd15_folder, dataset, "--method", m).get(0, range(8)).pairs for m in ("dpo", "kto"))
    for batch, shared in ((pair, True), (alone, False)):
        chosen, rejected = batch.target.chunk(2)
        assert torch.equal(chosen, rejected) == shared
        assert torch.equal(*batch.timesteps.chunk(2)) == shared


def test_pairs_for_the_unconditional_branch_are_swapped_and_lose_their_caption_and_the_others_stay(
    sd15_folder: Path, dataset: Path
) -> None:
    plain, turned = (
        loading(sd15_folder, dataset, "--method", "mapo", "--uncond-share", value) for value in ("0", "0.5")
    )
    size, before, after = 8, plain.get(0, range(8)).pairs, turned.get(0, range(8)).pairs
    empty = turned.store.contexts(torch.tensor([turned.store.text_row[""]]), torch.tensor([0])).hidden
    lost = (after.context.hidden == empty).flatten(1).all(1)
    assert torch.equal(lost, after.uncond) and not before.uncond.any()
    assert 0 < lost.sum() < size
    assert torch.equal(after.timesteps, before.timesteps)
    for i in range(size):
        sides = (i + size, i) if lost[i] else (i, i + size)
        # The noise is shared by the two images of a pair, so swapping them swaps the noised latents.
        assert torch.equal(after.latents[i], before.latents[sides[0]])
        assert torch.equal(after.latents[i + size], before.latents[sides[1]])


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("method", ["mapo", "dcpo"])
def test_the_unconditional_branch_is_the_pipelines_own(
    zeros: bool, method: str, sdxl_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    from diffusers import DiffusionPipeline

    folder = copy(sdxl_folder, tmp_path)
    reset(folder / "model_index.json", force_zeros_for_empty_prompt=zeros)
    columns = {}
    if method == "dcpo":
        captions = [f"a caption {i}" for i in range(12)]
        columns = {"chosen_captions": captions, "rejected_captions": captions}
    pairs = loading(folder, dataset, "--method", method, "--uncond-share", "0.5", **columns).get(0, range(8)).pairs
    kind: Any = DiffusionPipeline
    _, empty, _, pooled = kind.from_pretrained(folder).encode_prompt(
        "x", device="cpu", do_classifier_free_guidance=True
    )
    context = pairs.image_context()
    branch = pairs.uncond.repeat(2)
    assert 0 < pairs.uncond.sum() < 8 and context.pooled is not None
    assert bool((empty == 0).all()) is zeros
    for rows, wanted in ((context.hidden, empty), (context.pooled, pooled)):
        torch.testing.assert_close(rows[branch], wanted.expand(int(branch.sum()), *wanted.shape[1:]))
        assert not any(torch.equal(row, wanted[0]) for row in rows[~branch])
    assert context.time_ids is not None and (context.time_ids != 0).any(dim=1).all()


def test_other_principles_are_another_principle_or_the_own_and_others(sd15_folder: Path, dataset: Path) -> None:
    known = [f"principle {i % 4}" for i in range(12)]
    made = loading(
        sd15_folder, dataset, "--method", "livo", "--leak-penalty", "5", "--max-principles", "4", principles=known
    )
    seen = set()
    for step in range(20):
        batch = made.get(step, range(8)).pairs
        for own, names in zip(batch.principles, batch.other_principles, strict=True):
            assert len(set(names)) == len(names) and set(names) <= set(known)
            assert own in names if len(names) > 1 else own not in names
            seen.add(len(names))
    assert seen == {1, 2, 3, 4}
    one = loading(sd15_folder, dataset, "--method", "livo", principles=known).get(0, range(8)).pairs
    assert {len(names) for names in one.other_principles} == {1}
    single = loading(sd15_folder, dataset, "--method", "livo", principles=["only"] * 12).get(0, range(8)).pairs
    assert single.other_principles == [()] * 8


def test_each_image_has_its_caption_for_dcpo_and_a_gap_of_rewards_for_capo(sd15_folder: Path, dataset: Path) -> None:
    captions = {"chosen_captions": [f"c {i}" for i in range(12)], "rejected_captions": [f"r {i}" for i in range(12)]}
    made = loading(sd15_folder, dataset, "--method", "dcpo", **captions)
    batch = made.get(0, range(8)).pairs
    rows = batch_rows(12, 8, 0, 0).tolist()
    found = [made.store.text_row[f"{side} {row}"] for side in "cr" for row in rows]
    assert torch.equal(batch.context.hidden, made.store.contexts(torch.tensor(found), torch.zeros(16).long()).hidden)
    rewards = {"chosen_rewards": [0.9] * 12, "rejected_rewards": [i / 20 for i in range(12)]}
    gap = loading(sd15_folder, dataset, "--method", "capo", **rewards).get(0, range(8)).reward_gap
    assert gap is not None and gap.tolist() == pytest.approx([0.9 - row / 20 for row in rows])


def test_lists_of_any_length_find_their_images(sd15_folder: Path, dataset: Path) -> None:
    relevance, members = laid_out([[0.1, 0.2, 0.3], [0.5, 0.6]])
    assert torch.equal(relevance.isnan(), torch.tensor([[False] * 3, [False, False, True]]))
    # Three places in a batch: two of the list of three, whose last image is there twice, and one of the list of two.
    assert members[0].tolist() == [0, 3, 1] and members[1, :2].tolist() == [2, 5]
    flat = chosen_first(torch.tensor([10, 11, 12, 12, 20, 21]))
    assert flat[members[0]].tolist() == [10, 11, 12] and flat[members[1, :2]].tolist() == [20, 21]
    made = loading(sd15_folder, dataset, "--method", "rankdpo", "--batch", "3").get(0, range(3))
    assert made.relevance is not None and made.members is not None
    for row, places in zip(made.relevance, made.members, strict=True):
        held = places[~row.isnan()]
        assert len(set(made.pairs.timesteps[held].tolist())) == 1  # a list shares noise and timestep
        assert len({int(place) % len(made.pairs) for place in held}) == -(-len(held) // 2)


def test_a_pool_gives_another_violating_image_at_every_access_as_a_function_of_step_and_place(
    sd15_folder: Path, dataset: Path
) -> None:
    rejected = data.load(str(dataset)).rejected
    pools = {"partners": [rejected[:6]] * 6 + [rejected[6:]] * 6}
    made, again = (loading(sd15_folder, dataset, "--method", "livo", **pools) for _ in range(2))
    met: dict[int, set[int]] = {}
    for step in range(30):
        for place, row in enumerate(batch_rows(12, 8, 0, step).tolist()):
            chosen, partner = made._images(row, step, place)
            assert chosen == made.samples.chosen[row] and partner in pools["partners"][row]
            met.setdefault(row, set()).add(partner)
            assert again._images(row, step, place) == [chosen, partner]
    assert all(len(partners) > 3 for partners in met.values())
    whole, part = made.get(3, range(8)).pairs, again.get(3, range(2, 5)).pairs
    assert torch.equal(whole.part(slice(2, 5)).latents, part.latents)


def test_a_pools_partner_stays_where_the_loss_reads_what_is_said_of_the_one_pair(
    sd15_folder: Path, dataset: Path
) -> None:
    rejected = data.load(str(dataset)).rejected
    made = loading(sd15_folder, dataset, "--method", "dpo", partners=[rejected] * 12, probabilities=[0.9] * 12)
    assert [made._images(row, step, 0)[1] for row in range(12) for step in range(3)] == [
        row for row in rejected for _ in range(3)
    ]


def test_the_violating_image_is_drawn_on_whichever_side_a_control_arm_puts_it(
    sd15_folder: Path, dataset: Path
) -> None:
    pairs = data.load(str(dataset))
    control = ("--method", "livo", "--control", "swapped-labels")
    made = loading(sd15_folder, dataset, *control, partners=[pairs.rejected] * 12)
    for step in range(4):
        violating, aligned = made._images(5, step, 0)
        assert violating in pairs.rejected and aligned == pairs.chosen[5]


def test_controls_turn_labels_round(dataset: Path) -> None:
    pairs = dataclasses.replace(
        data.load(str(dataset)), chosen_captions=["c"] * 12, rejected_captions=["r"] * 12, probabilities=[0.9] * 12
    )
    assert relabelled(pairs, "", 0) is pairs
    swapped = relabelled(pairs, "swapped-labels", 0)
    assert (swapped.chosen, swapped.rejected) == (pairs.rejected, pairs.chosen)
    assert swapped.chosen_captions == ["r"] * 12 and swapped.probabilities == [0.9] * 12
    random = relabelled(pairs, "random-labels", 0)
    turned = [a != b for a, b in zip(random.chosen, pairs.chosen, strict=True)]
    assert 0 < sum(turned) < 12
    assert [c == "r" for c in random.chosen_captions or ()] == turned
    assert random == relabelled(pairs, "random-labels", 0) != relabelled(pairs, "random-labels", 1)


def test_controls_of_lists(dataset: Path) -> None:
    lists = data.Lists(["a"], data.load(str(dataset)).images, [[0, 1, 2, 3]], [[0.0, 0.25, 0.5, 1.0]])
    assert reranked(lists, "swapped-labels", 0).relevance == [[1.0, 0.75, 0.5, 0.0]]
    shuffled = reranked(lists, "random-labels", 0).relevance
    assert shuffled != lists.relevance and sorted(shuffled[0]) == lists.relevance[0]
