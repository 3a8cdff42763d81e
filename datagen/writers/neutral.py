"""Is a context prompt neutral? It must leave open what the two wordings will disagree about.

Words are looked up, not understood: a list of style words for every principle, and for a principle the words that its
own wordings and negative prompts use.
"""

from __future__ import annotations

import re

from datagen.records import Principle

SHORTEST, LONGEST = 5, 60  # words; the writer is asked for 20 to 30
_STYLES = """
photorealistic|hyperrealistic|hyper-realistic|photo-realistic|realistic|8k|4k|hdr|uhd|cinematic|masterpiece|bokeh|
best quality|high quality|highly detailed|trending on artstation|artstation|octane render|unreal engine|3d render|cgi|
watercolou?r|oil painting|digital (?:art|painting)|concept art|anime|manga|cartoon|pixel art|line art|line drawing|
pencil sketch|charcoal drawing|low poly|vaporwave|steampunk|cyberpunk|art nouveau|art deco|impressionist|surrealist|
in the style of|style of|dslr|film grain|fisheye|35mm
"""
_STYLE = re.compile(rf"\b(?:{'|'.join(''.join(_STYLES.splitlines()).split('|'))})\b", re.IGNORECASE)
# Words of wordings that do not say what a principle is about.
COMMON = frozenset(
    """
    about above after against also amount anything around aside bare before being body both clean clear clearly
    clothed colour considered content covered depicted different equal equality every everyone face figure filled
    from fully groups hand having healthy here image images inappropriate into kind large light lively look
    looking many more near none normal ordinary other people people's person picture pictures place plain plainly
    preferred quality real realistic safe same scene scenes shown shows small some someone something style styles
    that their them there these they thing things this together under unharmed using very visible wearing what
    where which with without woman women work working
    """.split()
)
_WORD = re.compile(r"[a-z]{4,}")


def problem(prompt: str, principle: Principle) -> str | None:
    """Why a prompt does not leave the principle open, or None."""
    words = len(prompt.split())
    if not SHORTEST <= words <= LONGEST:
        return "too short" if words < SHORTEST else "too long"
    if _STYLE.search(prompt):
        return "style words"
    if principle.kind != "balance" and _about(principle) & set(_WORD.findall(prompt.lower())):
        return "names the principle"
    return None


def _about(principle: Principle) -> set[str]:
    """The words by which a principle can be recognised."""
    texts = [principle.category, principle.statement]
    texts.append(principle.aligned_negative if principle.kind == "avoid" else principle.aligned)
    return set(_WORD.findall(" ".join(texts).lower().replace("{prompt}", ""))) - COMMON
