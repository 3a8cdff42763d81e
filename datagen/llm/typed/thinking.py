"""What a model says, apart from what it thinks aloud before: marks of any kind and case, and channels."""

from __future__ import annotations

import re

_WORDS = "think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|inner[_ ]monologue"
# <think>, </THINK>, [THINK], [/THINK], <|think|>, <|begin_of_thought|>, <|end_of_thought|>, ◁think▷, <seed:think>
_MARK = re.compile(
    rf"[<\[◁⟨]\|?\s*(?P<end>/|end_of_)?(?:begin_of_|start_of_)?(?:\w{{1,12}}:)?(?:{_WORDS})\s*\|?[>\]▷⟩]",
    re.IGNORECASE,
)
# <|channel|>analysis<|message|>… <|channel|>final<|message|>…, with the marks or with what some servers leave of them.
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>", re.IGNORECASE)
_BARE_CHANNELS = re.compile(r"\A\s*analysis.*assistant\s*final", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"<\|(?:end|return|start|call|im_end|eot_id|endoftext)\|>")


def spoken(text: str) -> tuple[str, bool]:
    """What a model says, and whether that is still its thinking, because it never said that it had stopped."""
    text, thinking = _final_channel(text)
    if thinking:
        return text, True
    marks = list(_MARK.finditer(text))
    last = max((mark.end() for mark in marks if mark["end"]), default=0)
    # A chat template may have opened the mark itself, so that only its end is in the reply.
    opened = next((mark for mark in marks if not mark["end"] and mark.start() >= last), None)
    if opened is None:
        return text[last:].strip(), False
    if before := text[last : opened.start()].strip():
        return before, False
    return text[opened.end() :].strip(), True


def _final_channel(text: str) -> tuple[str, bool]:
    """The text of the last channel that is for the user, and whether there is none yet."""
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return _BARE_CHANNELS.sub("", text), False
    finals = [place for place, channel in enumerate(channels) if channel[1].lower() == "final"]
    place = finals[-1] if finals else len(channels) - 1
    end = channels[place + 1].start() if place + 1 < len(channels) else len(text)
    said = text[channels[place].end() : end]
    return _CONTROL.split(said)[0].strip(), not finals
