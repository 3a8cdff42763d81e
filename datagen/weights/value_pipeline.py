"""Stable Diffusion with value tokens in front of a prompt's own: made, padded, loaded, and used by a stock pipeline.

This file stands alone: training leaves a copy beside the weights, as `pipeline.py`, where diffusers looks for a custom
pipeline, and nothing else of this project is needed to use them.

    pipe = DiffusionPipeline.from_pretrained(MODEL, custom_pipeline=DIR, trust_remote_code=True)
    pipe.load_value_encoder(DIR)               # DIR: what training wrote for this MODEL, Stable Diffusion 1.5 or XL
    image = pipe("a chef among ruins", principle="splatter considered inappropriate").images[0]

Tokens are made by the functions that training uses, so padding cannot differ. Whatever has no value (prompts without a
principle, the unconditional branch) is computed from the base model's own tensors, by the same operations in the same
shapes: those images are bit-identical to the base model's in the same batch. Licence: Apache-2.0.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FOLDERS = ("value_encoder", "value_encoder_2")
EMBEDS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


class DoesNotFit(ValueError):
    """What was given cannot be used with this pipeline; one line says why and what to do."""


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copied to the device; from pinned memory, since a GPU's other copies wait for all queued work."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Token ids (N, max length), padded and truncated exactly as the pipeline does at inference."""
    ids: Tensor = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def read_states(encoder: Any, ids: Tensor, *, xl: bool) -> tuple[Tensor, Tensor | None]:
    """One text encoder's part of the context (N, L, D): its output, or SDXL's layer before the last, and first output.

    The latter is the pooled projection for SDXL's second encoder; None for SD 1.5, whose U-Net does not read it.
    """
    if not xl:
        return encoder(ids)[0], None
    output = encoder(ids, output_hidden_states=True)
    return output.hidden_states[-2], output[0]


def value_text(principle: str, prompt: str) -> str:
    """What the value encoder reads: the principle first, so that truncation eats the end of a long prompt."""
    return f"{principle}, {prompt}"


def value_tokens(
    encoders: Sequence[Any], tokenizers: Sequence[Any], principles: Sequence[str], prompts: Sequence[str]
) -> Tensor:
    """Value tokens (N, D): the row of the context of "principle, prompt" at the text's end, from the value encoder.

    What follows the end is cut off, which changes nothing: these encoders never look ahead.
    """
    texts = [value_text(v, p) for v, p in zip(principles, prompts, strict=True)]
    parts = []
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        ids = tokenize(tokenizer, texts)
        end = (ids == tokenizer.eos_token_id).int().argmax(dim=1)
        ids = to_device(ids[:, : int(end.max()) + 1], encoder.device)
        states, _ = read_states(encoder, ids, xl=len(encoders) == 2)
        parts.append(states[torch.arange(len(texts), device=states.device), to_device(end, states.device)])
    return torch.cat(parts, dim=-1)


def pad_tokens(tokens: Tensor, members: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompt i gets the rows members[i] of `tokens` (M, D): tokens (N, K, D), zeros in empty places; taken (N, K)."""
    width = max(map(len, members))
    none = len(tokens)
    places = torch.tensor([[*rows, *[none] * (width - len(rows))] for rows in members], dtype=torch.long)
    places = places.view(len(members), width)
    return torch.cat([tokens, torch.zeros_like(tokens[:1])])[to_device(places, tokens.device)], places < none


def prepend(tokens: Tensor, hidden: Tensor) -> Tensor:
    """Value tokens (N, K, D) in front of the prompt's own (N, 77, D)."""
    return torch.cat([tokens.to(hidden), hidden], dim=1)


def copy_sharing_weights(module: nn.Module) -> Any:
    """A copy of the module around the very same weights: adapters put into one do not show in the other."""
    return copy.deepcopy(module, {id(weight): weight for weight in module.parameters()})


def load(folder: Path, text_encoders: Sequence[Any]) -> list[Any]:
    """The value encoder that training wrote, for a pipeline with these text encoders. Raises DoesNotFit.

    `folder` holds `value_encoder/`, or is that folder itself, as the one that LiVO's authors published.
    """
    names = FOLDERS[: len(text_encoders)]
    places = [folder / name for name in names]
    if len(names) == 1 and not places[0].is_dir():
        places = [folder]
    if len(names) == 1 and (folder / FOLDERS[1]).is_dir() or not all(place.is_dir() for place in places):
        raise DoesNotFit(
            f"no value encoder for this model at {folder}: give what training wrote for the same model, "
            f"with {' and '.join(names)} in it"
        )
    return [_load(place, encoder).eval() for place, encoder in zip(places, text_encoders, strict=True)]


def _load(place: Path, text_encoder: Any) -> Any:
    """One encoder; weights from safetensors only, and all of them where they belong."""
    try:
        if (place / "adapter_config.json").is_file():
            encoder, problems = _load_light(place, text_encoder)
        else:
            encoder, found = type(text_encoder).from_pretrained(
                place,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            problems = {
                "missing": found["missing_keys"],
                "unexpected": found["unexpected_keys"],
                "of another shape": [name for name, *_ in found["mismatched_keys"]],
            }
    except Exception as error:  # the loaders raise many kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DoesNotFit(f"no value encoder that fits at {place}: {first[:200]}") from error
    broken = {"not finite": [name for name, weight in encoder.named_parameters() if not weight.isfinite().all()]}
    if counts := [f"{len(names)} {what} ({min(names)}, …)" for what, names in (problems | broken).items() if names]:
        raise DoesNotFit(
            f"the value encoder at {place} does not fit: {', '.join(counts)}; give one that was trained on this model"
        )
    if encoder.config.hidden_size != text_encoder.config.hidden_size:
        raise DoesNotFit(
            f"the value encoder is {encoder.config.hidden_size} wide, the model's text encoder "
            f"{text_encoder.config.hidden_size}: it was trained on another model"
        )
    return encoder.to(text_encoder.device)


def _load_light(place: Path, text_encoder: Any) -> tuple[Any, dict[str, list[str]]]:
    """LoRA on a copy of the text encoder; names of tensors that the file lacks, has too many, or of another shape."""
    import peft
    from safetensors.torch import load_file

    tensors = load_file(place / "adapter_model.safetensors")
    config = peft.PeftConfig.from_pretrained(place, local_files_only=True)
    encoder = peft.get_peft_model(copy_sharing_weights(text_encoder), config)
    ours, theirs = (
        # Versions of transformers differ in this part of a name.
        {name.replace(".text_model.", "."): value.shape for name, value in held.items()}
        for held in (peft.get_peft_model_state_dict(encoder), tensors)
    )
    problems = {
        "missing": sorted(ours.keys() - theirs.keys()),
        "unexpected": sorted(theirs.keys() - ours.keys()),
        "of another shape": sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]),
    }
    if not any(problems.values()):
        peft.set_peft_model_state_dict(encoder, tensors)
    return encoder, problems


def check_pipeline(pipe: Any) -> None:
    """Raise DoesNotFit for a pipeline that reads prompts in another way than Stable Diffusion 1.5 and XL do."""
    kind, unet = type(pipe).__name__, getattr(pipe, "unet", None)
    absent = [name for name in ("text_encoder", "tokenizer") if getattr(pipe, name, None) is None]
    if absent or unet is None:
        raise DoesNotFit(
            f"a {kind} without {' and '.join(absent or ['unet'])} has no place for values: they are for pipelines of "
            "Stable Diffusion 1.5 and XL; a refiner refines what such a one has drawn, without them"
        )
    if hasattr(unet, "_orig_mod"):
        raise DoesNotFit("the U-Net is compiled, and hooks may be passed over: make the guide without torch.compile")
    if getattr(unet.config, "encoder_hid_dim_type", None) not in (None, "ip_image_proj"):
        raise DoesNotFit(f"the U-Net of this {kind} projects its prompts: it is no Stable Diffusion 1.5 or XL")
    takes = inspect.signature(pipe.__call__).parameters
    if not isinstance(pipe, WithValues) and not {*EMBEDS[:2]} <= {*takes} or not hasattr(pipe, "encode_prompt"):
        raise DoesNotFit(f"a {kind} does not take {EMBEDS[0]} and {EMBEDS[1]}, by which prompts get their values")


class Guide:
    """Gives the prompts of a stock SD 1.5 or SDXL pipeline their values; any number of principles a prompt.

    The embeddings it makes are longer than the pipeline's by as many tokens as the prompt with the most principles
    has; empty places, and all those of the unconditional rows, are zero. Hooks on the U-Net take these tokens off
    again, so that it runs on the very tensors of the base model, and recompute the cross-attention of only those rows
    that have a token. A ControlNet reads the prompt's own tokens alone. `close()` takes the hooks off.
    """

    def __init__(self, pipe: Any, folder: str | Path) -> None:
        check_pipeline(pipe)
        self.pipe, self.unet = pipe, pipe.unet
        self.control = getattr(pipe, "controlnet", None)
        names = ["", "_2"] if getattr(pipe, "text_encoder_2", None) is not None else [""]
        self.tokenizers = [getattr(pipe, f"tokenizer{name}") for name in names]
        self.encoders = load(Path(folder), [getattr(pipe, f"text_encoder{name}") for name in names])
        self._most = 0  # places in front of a prompt so far: longer prompts are not ours to touch
        self._size = 0  # rows of the running U-Net call
        self._steered: list[tuple[Tensor, Tensor]] = []  # of it: rows, and their whole context
        self._controlled = False  # whether the ControlNet has run since the last U-Net call
        crossings = (m for name, m in pipe.unet.named_modules() if name.endswith(".attn2"))
        self._hooks = [
            pipe.unet.register_forward_pre_hook(self._take_tokens, with_kwargs=True),
            *(m.register_forward_hook(self._attend, with_kwargs=True) for m in crossings),
        ]
        if self.control is not None:
            self._hooks.append(self.control.register_forward_pre_hook(self._take_from_control, with_kwargs=True))

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str],
        principles: Sequence[None | str | Sequence[str]],
        negative_prompts: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Arguments of the pipeline: `prompt_embeds` and `negative_prompt_embeds`, (N, K + 77, D); SDXL's pooled ones.

        A prompt's principles are None, one, or several in any order. Raises DoesNotFit if the lists differ in length.
        """
        if self.pipe.unet is not self.unet or getattr(self.pipe, "controlnet", None) is not self.control:
            raise DoesNotFit(
                "the pipeline has another U-Net or ControlNet since: make the guide again, for it as it is"
            )
        negatives = None if negative_prompts is None else list(negative_prompts)
        if not len(prompts) == len(principles) == len(prompts if negatives is None else negatives):
            more = "" if negatives is None else f" and {len(negatives)} negative prompts"
            raise DoesNotFit(
                f"{len(prompts)} prompts but {len(principles)} principles{more}; give one (or None) a prompt"
            )
        embeds = self.pipe.encode_prompt(
            list(prompts),
            device=self.pipe._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negatives,
        )
        arguments: dict[str, Tensor] = dict(zip(EMBEDS, embeds, strict=False))
        chosen = [sorted({names} if isinstance(names, str) else {*(names or ())}) for names in principles]
        if any(chosen):
            slots = self.slots(prompts, chosen)
            arguments["prompt_embeds"] = prepend(slots, arguments["prompt_embeds"])
            arguments["negative_prompt_embeds"] = prepend(torch.zeros_like(slots), arguments["negative_prompt_embeds"])
        return arguments

    def slots(self, prompts: Sequence[str], chosen: Sequence[Sequence[str]]) -> Tensor:
        """The tokens of each prompt's principles (N, K, D), zeros where it has fewer than others."""
        for encoder in self.encoders:  # the pipeline may have been moved since
            encoder.to(self.pipe._execution_device)
        wanted = [(name, prompt) for prompt, names in zip(prompts, chosen, strict=True) for name in names]
        tokens = value_tokens(self.encoders, self.tokenizers, [n for n, _ in wanted], [p for _, p in wanted])
        rows = iter(range(len(wanted)))
        slots, _ = pad_tokens(tokens, [[next(rows) for _ in names] for names in chosen])
        self._most = max(self._most, slots.shape[1])
        return slots

    def _split(self, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None, Any, dict[str, Any]]:
        """The tokens in front (None where there are none), the prompt's own, and the arguments with these alone."""
        named = "encoder_hidden_states" in kwargs
        hidden = kwargs["encoder_hidden_states"] if named else args[2]
        places = hidden.shape[1] - self.tokenizers[0].model_max_length
        if not 0 < places <= self._most:
            return hidden, None, args, kwargs
        words = hidden[:, places:].contiguous()
        if named:
            return words, hidden[:, :places], args, {**kwargs, "encoder_hidden_states": words}
        return words, hidden[:, :places], (*args[:2], words, *args[3:]), kwargs

    def _take_from_control(self, control: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before a ControlNet runs: leave it the prompt's own tokens, as it would read without the guide."""
        self._controlled = True
        return self._split(args, kwargs)[2:]

    def _take_tokens(self, unet: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before the U-Net runs: leave it the prompt's own tokens, and note what the rows with more attend to."""
        words, tokens, args, kwargs = self._split(args, kwargs)
        controlled, self._controlled, self._steered, self._size = self._controlled, False, [], len(words)
        if tokens is None:
            return args, kwargs
        if kwargs.get("mid_block_additional_residual") is not None and not controlled:
            raise DoesNotFit(
                "these values were made for another pipeline: make a guide for the one with the ControlNet"
            )
        counts = (tokens != 0).any(dim=-1).sum(dim=1).tolist()
        for count in sorted({*counts} - {0}):
            rows = torch.tensor([i for i, c in enumerate(counts) if c == count], device=words.device)
            self._steered.append((rows, torch.cat([tokens[rows, :count], words[rows]], dim=1)))
        return args, kwargs

    def _attend(self, attention: Any, args: tuple[Tensor], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        """After a cross-attention has run: the rows with value tokens attend again, to these as well."""
        if self._steered and len(args[0]) != self._size:
            raise DoesNotFit(
                "this pipeline's U-Net splits the rows of a call (frames of a video): values are for images"
            )
        for rows, context in self._steered:
            seen: Any = kwargs["encoder_hidden_states"]
            # An IP-Adapter's pictures stand beside the prompt.
            seen = (context, [image[rows] for image in seen[1]]) if isinstance(seen, tuple) else context
            steered = attention.forward(args[0][rows], **{**kwargs, "encoder_hidden_states": seen})
            output = output.index_copy(0, rows, steered)
        return output

    def close(self) -> None:
        """Take the hooks off the pipeline."""
        for hook in self._hooks:
            hook.remove()


class WithValues:
    """What a stock pipeline gains in front of its own class: `load_value_encoder`, and `principle` in its call."""

    value_guide: Guide | None = None

    def load_value_encoder(self, folder: str | Path) -> None:
        """Read what training wrote for this model. Raises DoesNotFit."""
        guide = Guide(self, folder)
        if self.value_guide is not None:
            self.value_guide.close()
        self.value_guide = guide

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        principle: None | str | Sequence[None | str | Sequence[str]] = None,
        negative_prompt: None | str | Sequence[str] = None,
        **options: Any,
    ) -> Any:
        """The stock pipeline's call, with everything that it takes by name. Raises DoesNotFit.

        `principle` is None, one text, or for one prompt several; for a list of prompts one text for all of them, or a
        list with None, one or several for each.
        """
        stock: Any = super()
        if principle is None:
            return stock.__call__(prompt, negative_prompt=negative_prompt, **options)
        if self.value_guide is None or prompt is None:
            raise DoesNotFit("a principle needs load_value_encoder(DIR) before, and the prompt as text")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        alike = isinstance(prompt, str) or isinstance(principle, str)
        principles: Any = [principle] * len(prompts) if alike else list(principle)
        negatives = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else negative_prompt
        return stock.__call__(**self.value_guide(prompts, principles, negatives), **options)
