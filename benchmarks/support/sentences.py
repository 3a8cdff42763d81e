"""Sentences of word lists, as long as those that a language model writes."""

from __future__ import annotations

import itertools
import random

WHO = (
    "a baker|an old fisherman|two nurses|a tired courier|a violinist|a beekeeper|a carpenter|a grey cat|a tall giraffe"
)
DOES = "repairing a wooden boat|pouring hot tea|reading a thick atlas|carrying a crate of apples|stacking red bricks|"
DOES += "feeding three pigeons|painting a long fence|winding a clock|folding white sheets|watering tomato plants"
WHERE = "beside a quiet lake|in a narrow street|on a train platform|in a busy market hall|under a stone bridge|"
WHERE += "at a kitchen table|on a rooftop terrace|in a dusty workshop|by a lighthouse|between rows of vines"
WITH = "a brass lantern|a torn map|a basket of lemons|a folded umbrella|a rusty bicycle|an empty chair|a blue ladder|"
WITH += "a stack of letters|a wool scarf|a tin bucket|a pair of boots|a clay jug"
LIGHT = "in early morning light|under an overcast sky|in warm evening sun|in soft window light|while light rain falls"
SYLLABLES = ("ba", "cor", "del", "fin", "gra", "hol", "im", "jun", "ka", "lor", "mer", "nos", "pel", "ri", "sta", "tu")


def made_up() -> list[str]:
    """4,096 words that no language has."""
    return ["".join(parts) for parts in itertools.product(SYLLABLES, repeat=3)]


def sentence(rng: random.Random) -> str:
    """A scene in about fifteen words."""
    words = " ".join(rng.choice(part.split("|")) for part in (WHO, DOES, WHERE))
    return f"{words}, with {rng.choice(WITH.split('|'))}"
