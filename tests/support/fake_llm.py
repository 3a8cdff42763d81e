"""An LLM of a few word lists: it answers every request of the writer in its type, the same way each time it is asked.

It remembers what it was asked. A test makes it misbehave by giving `twist`, which may change any reply.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from pydantic import BaseModel

from datagen.llm.messages import Reply, Request, Usage
from datagen.writers.principles import A_CALL
from datagen.writers.replies import Context, Control, NewPrinciple, Scenes, Widened, Wordings

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

Twist = Callable[[Request, Reply], Reply]


def sentence(rng: random.Random, brief: bool = False) -> str:
    """A scene in about fifteen words, or in ten."""
    words = " ".join(rng.choice(part.split("|")) for part in (WHO, DOES, WHERE))
    return words if brief else f"{words}, with {rng.choice(WITH.split('|'))}"


class FakeLlm:
    """Answers requests; those that were asked before come from its cache and are not counted in `calls`."""

    model = "fake-1"

    def __init__(self, twist: Twist = lambda request, reply: reply, *, brief: bool = False) -> None:
        self.twist, self.brief = twist, brief
        self.asked: list[Request] = []
        self.cache: dict[Request, Reply] = {}

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply a request, in order."""
        return [self._answer(request) for request in requests]

    @property
    def calls(self) -> int:
        """How many calls were paid."""
        return len(self.asked)

    def _answer(self, request: Request) -> Reply:
        if request not in self.cache:
            self.asked.append(request)
            text = request.messages[-1].text
            value = self.value(request, random.Random(f"{text} {request.sample}"))
            name = f"request-{len(self.asked)}"
            reply = Reply(value, value.model_dump_json(), self.model, name, Usage(100, 50, 0.01))
            self.cache[request] = self.twist(request, reply)
        return self.cache[request]

    def value(self, request: Request, rng: random.Random) -> BaseModel:
        """What a well-behaved model says."""
        text = request.messages[-1].text
        scene = found[1] if (found := re.search(r"<scene>\n(.*)\n</scene>", text)) else sentence(rng, self.brief)
        prompt = (
            scene if self.brief else f"{scene}, {rng.choice(LIGHT.split('|'))}, beside {rng.choice(WITH.split('|'))}"
        )
        if issubclass(request.reply or BaseModel, Scenes):
            return Scenes(scenes=[sentence(rng, self.brief) for _ in range(20)])
        if request.reply is Context:
            return Context(prompt=prompt)
        if request.reply is Control:
            return Control(prompt=f"{prompt}, near ketchup", rejected=f"{prompt}, gone wrong", chosen_negative="")
        if request.reply is Widened:
            return Widened(principles=[self.principle(rng) for _ in range(A_CALL)])
        return Wordings(
            prompt=prompt, chosen=f"{prompt}, done well", rejected=f"{prompt}, gone wrong", chosen_negative="wrong",
            rejected_negative="",
        )  # fmt: skip

    def principle(self, rng: random.Random) -> NewPrinciple:
        """A new principle of a random subject."""
        subject = f"{rng.choice(WITH.split('|'))} {rng.choice(DOES.split('|'))}"
        return NewPrinciple(
            kind="avoid", category=subject.split()[1], statement=f"{subject} considered inappropriate",
            aligned="calm and whole", violating=f"with {subject}", aligned_negative=subject, violating_negative="",
        )  # fmt: skip


def failing(reason: str, when: Callable[[Request], bool]) -> Twist:
    """A twist that turns the replies to some requests into content errors."""

    def twist(request: Request, reply: Reply) -> Reply:
        if not when(request):
            return reply
        return Reply(None, "", reply.model, reply.request_id, reply.usage, error=reason)

    return twist
