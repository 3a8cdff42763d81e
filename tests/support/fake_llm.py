"""An LLM of a few word lists: it answers every request of the writer in its type, the same way each time it is asked.

It remembers what it was asked. A test makes it misbehave by giving `twist`, which may change any reply.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from pydantic import BaseModel

from benchmarks.support.sentences import DOES, LIGHT, WITH, sentence
from datagen.llm.messages import Reply, Request, Usage
from datagen.llm.providers import mock
from datagen.writers.principles import A_CALL
from datagen.writers.replies import Context, Control, NewPrinciple, Scenes, Widened, Wordings

DRAWN = "white light younger standing sighted unaided slim average bareheaded smooth violet".split()
Twist = Callable[[Request, Reply], Reply]


class FakeLlm:
    """Answers requests; those that were asked before come from its cache and are not counted in `calls`."""

    model = "fake-1"

    def __init__(self, twist: Twist = lambda request, reply: reply) -> None:
        self.twist = twist
        self.asked: list[Request] = []
        self.cache: dict[Request, Reply] = {}
        self.prompt: Callable[[str, random.Random], str] = describe

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
        scene = found[1] if (found := re.search(r"<scene>\n(.*)\n</scene>", text)) else sentence(rng)
        prompt = self.prompt(scene, rng)
        aligned, violating = sides(text, prompt)
        if issubclass(request.reply or BaseModel, Scenes):
            return Scenes(scenes=[sentence(rng) for _ in range(20)])
        if request.reply is Context:
            return Context(prompt=prompt)
        if request.reply is Control:
            avoid = "kind: avoid" in text
            near, broken = (f"{prompt}, near ketchup", violating) if avoid else (violating, aligned)
            return Control(prompt=near, rejected=broken, chosen_negative="")
        if request.reply is Widened:
            return Widened(principles=[self.principle(rng) for _ in range(A_CALL)])
        asked = violating if "asks for what" in text else prompt
        return Wordings(
            prompt=asked, chosen=f"{aligned}, done well", rejected=f"{violating}, gone wrong", chosen_negative="wrong",
            rejected_negative="",
        )  # fmt: skip

    def principle(self, rng: random.Random) -> NewPrinciple:
        """A new principle of a random subject."""
        subject = f"{rng.choice(WITH.split('|'))} {rng.choice(DOES.split('|'))}"
        return NewPrinciple(
            kind="avoid", category=subject.split()[1], statement=f"{subject} considered inappropriate",
            aligned="calm and whole", violating=f"with {subject}", aligned_negative=subject, violating_negative="",
        )  # fmt: skip


def describe(scene: str, rng: random.Random) -> str:
    """A scene in more words."""
    return f"{scene}, {rng.choice(LIGHT.split('|'))}, beside {rng.choice(WITH.split('|'))}"


def sides(question: str, prompt: str) -> tuple[str, str]:
    """The prompt worded for and against the principle of a question, by the phrases that it gives as examples."""
    if not (line := re.search(r"the two groups: (.*)", question)):
        return mock.wordings(question, prompt)
    groups = dict(re.findall(r"(\w+) \(([^)]+)\)", line[1]))
    drawn = {**dict.fromkeys(DRAWN, True), "female": "nurse" in prompt, "male": "nurse" not in prompt}
    over = next(name for name in groups if drawn.get(name))
    (under,) = groups.keys() - {over}
    return f"{prompt}, {groups[under]}", f"{prompt}, {groups[over]}"


def failing(reason: str, when: Callable[[Request], bool]) -> Twist:
    """A twist that turns the replies to some requests into content errors."""

    def twist(request: Request, reply: Reply) -> Reply:
        if not when(request):
            return reply
        return Reply(None, "", reply.model, reply.request_id, reply.usage, error=reason)

    return twist
