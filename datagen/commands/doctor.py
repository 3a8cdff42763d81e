"""What this machine can serve: the weights it has, its GPU, the profile that `auto` takes, and the LLM it would ask.

It never downloads: a folder or the Hugging Face cache either holds a model's files or does not. Only `report` loads
weights, so that each model that is here draws a test picture. An LLM server is asked which models it has, which costs
nothing; a finding never holds a key.
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from datagen import generators
from datagen import recipe as recipes
from datagen.commands import doctor_judges
from datagen.errors import DatagenError, EndpointError, ModelError
from datagen.judges import panel
from datagen.models import TABLE, Missing
from datagen.recipe import Profile, Recipe
from datagen.weights import licences
from datagen.world.identity import is_embedded

LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "datasets", "pyarrow")


def gpu() -> tuple[str, float] | None:
    """Name and memory in GiB of the first CUDA GPU. Imports torch."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return properties.name, properties.total_memory / 2**30


def choose(recipe: Recipe, wanted: str) -> tuple[str, str]:
    """The profile to run a recipe with, and why; RecipeError if it has none of that name.

    "auto" takes the most demanding profile that can be served: whose weights are here, whose prompts can be
    written, and for which the GPU has room. What a profile's models need must be known. If none can be served, it
    takes the least demanding one whose weights are here, or the recipe's first if there are no weights at all.
    """
    if wanted != recipes.AUTO:
        recipe.profile(wanted)
        return wanted, "as asked"
    card = functools.cache(gpu)  # asked for last and once: it imports torch
    demands = {name: demand(profile) for name, profile in recipe.profiles.items()}
    hindered: dict[str, list[str]] = {}
    for name in sorted(demands, key=lambda name: -_or_most(demands[name])):
        gib = demands[name]
        if hindrance := _hindrance(recipe, name, gib, card):
            hindered.setdefault(hindrance, []).append(name)
        elif gib and (found := card()):
            return name, f"its weights are here and the GPU ({_size(found)}) has room for {gib:g} GiB"
        else:
            return name, _why_not(hindered) or "it needs no GPU"
    here = [name for name, profile in recipe.profiles.items() if _missing(profile) is None]
    name = min(here, key=lambda name: _or_most(demands[name])) if here else next(iter(demands))
    return name, f"no profile can be served well: {_why_not(hindered)}"


def demand(profile: Profile) -> float | None:
    """GiB of GPU memory that a profile's models need, the largest of them; None if that of one is not known."""
    try:
        known = [generators.needs(*model) for model in models_of(profile)]
    except ModelError:  # a generator that is not there, as `generators.missing` says
        return None
    return None if None in known else max(needs.gpu_gib for needs in known if needs)


def _or_most(gib: float | None) -> float:
    return math.inf if gib is None else gib


def _hindrance(recipe: Recipe, name: str, gib: float | None, card: Callable[[], tuple[str, float] | None]) -> str:
    """Why `auto` does not take a profile, with {} where it is named; "" if it can be served."""
    if _missing(recipe.profile(name)) is not None:
        return "no weights of {} on this machine"
    if gib is None:
        return f"weights of {{}} are here, but what they need is not in {TABLE}"
    if why := _no_writer(recipe, name):
        return f"weights of {{}} are here, but no LLM: {why}"
    if gib == 0:
        return ""
    if (found := card()) is None:
        return "weights of {} are here, but no CUDA GPU"
    return f"the GPU ({_size(found)}) is too small for {{}}" if found[1] < gib else ""


def _why_not(hindered: dict[str, list[str]]) -> str:
    """Hindrance → profiles, in words."""
    joined = {why: (" or " if why.startswith("no ") else " and ").join(names) for why, names in hindered.items()}
    return "; ".join(why.replace("{}", names, 1) for why, names in joined.items())


def _size(card: tuple[str, float]) -> str:
    return f"{card[0]}, {card[1]:.0f} GiB"


def check(profile: Profile) -> str:
    """Refuse, before anything is made, a profile whose judges or models are not there or not whole; ModelError.

    Judges of the embedded world are refused for the images of another model; for those of a generator of one's own,
    of which only its author knows what it draws, what is returned says what they know.
    """
    chosen = panel.load(profile.judges)
    # A hub id that is not in the cache is left to the generator: it may download it.
    for model, revision in models_of(profile):
        if (why := generators.missing(model, revision)) and not why.downloadable:
            raise ModelError(f"the model {model!r} cannot be loaded: {why.reason}")
        if why is None:
            generators.check(_alone(profile, model, revision))
    know = panel.of_the_world(chosen)
    names = [model.removeprefix(f"{generators.DEFAULT}:") for model, _ in models_of(profile)]
    others = [name for name in names if not is_embedded(name)]
    if not know or not others:
        return ""
    if all(generators.is_own(name) for name in others):
        return f"; {know}"
    raise ModelError(
        f"judges: {know}, and {others[0]!r} draws others: leave out world, and name a CLIP with judges.clip.model, "
        "such as ViT-L-14/openai"
    )


def report(folder: Path) -> list[tuple[str, str]]:
    """What `datagen doctor` prints: (what, finding) in order."""
    card = gpu()
    disk = shutil.disk_usage(folder)
    findings = [
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((library, _version(library)) for library in LIBRARIES),
        ("cpu", f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB memory"),
        ("gpu", _size(card) if card else "none that CUDA can use"),
        ("disk", f"{disk.free / 2**30:.0f} GiB free in {folder}, {_writable(folder)}"),
    ]
    loaded = [recipes.load(name, []) for name in recipes.names()]
    profiles = [(name, profile) for recipe in loaded for name, profile in recipe.profiles.items()]
    order = list(dict.fromkeys(name for name, _ in profiles))
    models = {(order.index(name), *model): profile for name, profile in profiles for model in models_of(profile)}
    for place, model, revision in sorted(models):
        said = _about(model, revision) + _drawn(models[place, model, revision], model, revision, card)
        findings.append((f"profile {order[place]}", f"{model}: {said}"))
    for recipe in loaded:
        chosen, reason = choose(recipe, "auto")
        findings.append((f"auto, {recipe.name}", f"{chosen}: {reason}"))
    llms = [("images", images()), ("llm", _llm()), ("llm, fallback", _fallback_llm()), ("llm, local", _local_llm())]
    return [*findings, *doctor_judges.report(), *llms]


def _llm() -> str:
    """The LLM that the environment names, and whether it is there."""
    from datagen.llm.environment import from_environment
    from datagen.llm.providers import provider_of

    try:
        endpoint = from_environment()
    except EndpointError as error:
        return f"none that can be asked: {error}"
    return provider_of(endpoint.base_url).status(endpoint)


def images() -> str:
    """The server that the environment names for models "endpoint:…", whether it is there, and what it takes."""
    from datagen.llm.accounts.prices import HOW_TO_PRICE_PICTURES
    from datagen.llm.pictures import access
    from datagen.llm.providers import provider_of

    try:
        endpoint = access.endpoint("")
    except (EndpointError, ModelError) as error:
        return f"none that can be asked: {error}"
    _, price = access.named("")
    known = price is not None and price.picture is not None
    cost = f"up to ${price.drawn('', ''):.4f} a picture" if price and known else f"no price: {HOW_TO_PRICE_PICTURES}"
    return f"{provider_of(endpoint.base_url).status(endpoint)}; {cost}"


def _fallback_llm() -> str:
    """The LLM that is asked for what the first does not answer, and whether it is there."""
    from datagen.llm.environment import fallback_of, from_environment
    from datagen.llm.providers import provider_of

    try:
        endpoint = fallback_of(from_environment())
    except (EndpointError, ModelError) as error:
        return f"none that can be asked: {error}"
    if endpoint is None:
        return "none is named (DATAGEN_LLM_FALLBACK_MODEL)"
    return provider_of(endpoint.base_url).status(endpoint)


def _local_llm() -> str:
    """What a base URL local:FILE would run on."""
    from datagen.llm.local import serve

    if not serve.installed():
        return "llama.cpp is not installed: pip install '.[local-llm]' in the clone"
    gguf = serve.packaged()
    return f"xllamacpp {_version('xllamacpp')}, {f'with {gguf} to try it' if gguf else 'give it a GGUF file'}"


def _about(model: str, revision: str) -> str:
    """Whether a model is here, and what it needs."""
    why = generators.missing(model, revision)
    here = "weights are here" if why is None else why.reason
    try:
        needs = generators.needs(model, revision)
    except ModelError:  # its generator does not exist, which was reported already
        return here
    if needs is None:
        return f"{here}; what it needs is not known: {TABLE} has neither it nor one like it"
    room = f"a GPU with {needs.gpu_gib:g} GiB" if needs.gpu_gib else "no GPU"
    vae = f", {needs.vae} as VAE in half precision" if needs.vae else ""
    forbids = "".join(f"; {note}" for note in licences.note(needs.license))
    like = f" (as {needs.entry}, which it is like)" if needs.entry and not model.endswith(needs.entry) else ""
    return f"{here}; needs {room}, made for {needs.side} px, images under {needs.license}{vae}{like}{forbids}"


def _drawn(profile: Profile, model: str, revision: str, card: tuple[str, float] | None) -> str:
    """What came of a test picture of a model that is here, drawn as its profile has it; "" of one that is not."""
    if generators.missing(model, revision):
        return ""
    if generators.bill(model, profile.width, profile.height):
        return "; no test picture was drawn, as it may cost"
    needs = generators.needs(model, revision)
    if needs is None or needs.gpu_gib > (card[1] if card else 0.0):
        return "; no test picture was drawn, as the GPU may not do"
    try:
        generators.rehearse(_alone(profile, model, revision))
    except DatagenError as error:
        return f", BUT NO PICTURE: {error}"
    return ", a test picture was drawn"


def _alone(profile: Profile, model: str, revision: str) -> Profile:
    """The profile with one of its models alone."""
    own = {} if model == profile.model else recipes.OF_OTHERS
    return profile.model_copy(update=own | {"model": model, "revision": revision})


def _missing(profile: Profile) -> Missing | None:
    return next((why for model in models_of(profile) if (why := generators.missing(*model))), None)


def _no_writer(recipe: Recipe, name: str) -> str | None:
    """Why the prompts of a profile cannot be written, None if they can; no server is contacted."""
    from datagen.llm.environment import from_environment

    if not recipes.asks_llm(recipe, recipe.profile(name)):
        return None
    try:
        from_environment(recipe.llm.model)
    except EndpointError as error:
        return str(error)
    return None


def models_of(profile: Profile) -> list[tuple[str, str]]:
    """The models of a profile with their revisions; the revision belongs to the first."""
    return [(profile.model, profile.revision), *((model, "") for model in profile.other_models)]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: run make setup"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _writable(folder: Path) -> str:
    return "writable" if os.access(folder, os.W_OK) else "not writable"
