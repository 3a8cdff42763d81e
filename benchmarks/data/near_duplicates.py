"""Near-duplicates among 100,000 prompts: found, wrongly merged, seconds and memory; what datasketch takes for less.

`python -m benchmarks near_duplicates [COUNT]`. A fifth of the prompts are edits of others (words swapped, dropped,
added or replaced by a synonym, clauses reordered, case, punctuation), one to four edits each, so that many lie close
to 0.8 on either side. The truth is not what was planted but the exact Jaccard similarity of all pairs, found by prefix
filtering (Bayardo, Ma, Srikant 2007), which has nothing in common with MinHash but the definition of a shingle.
"""

from __future__ import annotations

import argparse
import collections
import math
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from benchmarks.support.results import Row, record
from benchmarks.support.sentences import made_up
from datagen.text.near_duplicates import _shape, clusters, duplicates
from datagen.text.shingled import shingles

THRESHOLD = 0.8


def prompts(count: int, rng: random.Random) -> list[str]:
    """Prompts of 12 to 30 words in Zipf's proportions, a fifth of them edits of others, shuffled."""
    vocabulary = made_up() * 2
    vocabulary = [*"a in the of with and on at by under".split(), *rng.sample(vocabulary, len(vocabulary))]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    texts = []
    for _ in range(count * 4 // 5):
        words = rng.choices(vocabulary, weights, k=rng.randint(12, 30))
        for comma in (len(words) // 3, len(words) * 2 // 3):
            words[comma] += ","
        texts.append(" ".join(words))
    texts += [_edited(rng.choice(texts), vocabulary, rng) for _ in range(count - len(texts))]
    rng.shuffle(texts)
    return texts


def _edited(text: str, vocabulary: list[str], rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        words = text.split()
        place = rng.randrange(len(words))
        edit = rng.choice(("synonym", "swap", "drop", "add", "clauses", "case", "punctuation"))
        if edit == "synonym":
            words = [f"near{word}" if word == words[place] else word for word in words]
        elif edit == "swap":
            other = rng.randrange(len(words))
            words[place], words[other] = words[other], words[place]
        elif edit == "drop":
            del words[place]
        elif edit == "add":
            words.insert(place, rng.choice(vocabulary))
        elif edit == "clauses":
            clauses = " ".join(words).split(", ")
            words = ", ".join(clauses[1:] + clauses[:1]).split()
        elif edit == "case":
            words[place] = words[place].upper()
        else:
            words[place] += rng.choice(("!", ".", ";", " -"))
        text = " ".join(words)
    return text


def truth(texts: list[str]) -> list[tuple[int, int]]:
    """All pairs of texts whose similarity is at least THRESHOLD, the exact way."""
    sets = [shingles(text) for text in texts]
    counts = collections.Counter(shingle for found in sets for shingle in found)
    postings: dict[str, list[int]] = collections.defaultdict(list)
    pairs = []
    for index, found in enumerate(sets):
        # Two sets that share THRESHOLD of what they have share one of so many of their rarest.
        prefix = sorted(found, key=lambda shingle: (counts[shingle], shingle))
        prefix = prefix[: len(prefix) - math.ceil(THRESHOLD * len(prefix) - 1e-9) + 1]
        for other in {other for shingle in prefix for other in postings[shingle]}:
            if len(found & sets[other]) / len(found | sets[other]) >= THRESHOLD:
                pairs.append((other, index))
        for shingle in prefix:
            postings[shingle].append(index)
    return pairs


def chains(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The chain of true twins that each text belongs to."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for a, b in pairs:
        parent[max(root(a), root(b))] = min(root(a), root(b))
    return [root(index) for index in range(count)]


def library(texts: list[str]) -> float:
    """Seconds that datasketch takes to propose pairs with the same bands, its fastest way, hashing included."""
    import zlib

    from datasketch import MinHash, MinHashLSH

    bands, rows = _shape(THRESHOLD)
    started = time.process_time()
    index = MinHashLSH(params=(bands, rows), num_perm=bands * rows)
    sets = ([shingle.encode() for shingle in shingles(text)] for text in texts)
    for number, signature in enumerate(MinHash.generator(sets, num_perm=bands * rows, hashfunc=zlib.crc32)):
        index.query(signature)
        index.insert(number, signature)
    return time.process_time() - started


def measured(function: Callable[[list[str], float], NDArray[Any]], texts: list[str]) -> tuple[list[int], float, float]:
    """What the function gives, its wall seconds and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(texts, THRESHOLD).tolist()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> int:
    """Print the figures; 1 if under 99 % are found, over 0.1 % are merged wrongly, or it took 60 s."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks near_duplicates", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("prompts", nargs="?", type=int, default=100_000, help="how many")
    texts = prompts(parser.parse_args().prompts, random.Random(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    labels, seconds, cpu = measured(clusters, texts)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    dropped, drop_seconds, drop_cpu = measured(duplicates, texts)
    pairs = truth(texts)
    chain = chains(len(texts), pairs)
    found = sum(labels[a] == labels[b] for a, b in pairs) / len(pairs)
    wrong = sum(chain[index] != chain[label] for index, label in enumerate(labels)) / len(texts)
    twins = collections.defaultdict(list)
    for a, b in pairs:
        twins[b].append(a)
    needless = sum(gone and not any(not dropped[a] for a in twins[index]) for index, gone in enumerate(dropped))
    left = sum(not dropped[a] and not dropped[b] for a, b in pairs)
    sizes = collections.Counter(labels)
    excess = len(texts) - len(set(chain))
    print(f"{len(texts)} prompts, {len(pairs)} pairs of near-duplicates, {excess} texts in excess")
    print("| | found | wrongly merged | wall s | CPU s (one core) |\n|---|---|---|---|---|")
    print(f"| clusters | {found:.3%} of pairs | {wrong:.3%} of texts | {seconds:.1f} | {cpu:.1f} |")
    print(
        f"| duplicates | {1 - left / len(pairs):.3%} of pairs | {needless / len(texts):.3%} dropped needlessly "
        f"| {drop_seconds:.1f} | {drop_cpu:.1f} |"
    )
    loose = sum(size * (size - 1) // 2 for size in sizes.values()) - sum(labels[a] == labels[b] for a, b in pairs)
    part = texts[: len(texts) // 10]
    print(f"| datasketch, only proposing, for {len(part)} prompts | | | | {(peer := library(part)):.1f} |")
    print(f"{memory:.0f} MB over the texts; largest cluster {max(sizes.values())}; {loose} pairs by chain only")
    rows = [
        Row("near-duplicate pairs found", 100 * found, "%", "≥ 99", note=f"{len(pairs):,} in {len(texts):,} prompts"),
        Row("prompts merged wrongly", 100 * wrong, "%", "≤ 0.1"),
        Row("pairs of which one is dropped", 100 * (1 - left / len(pairs)), "%"),
        Row("prompts dropped needlessly", 100 * needless / len(texts), "%"),
        Row("time", seconds, "s", "< 60"),
        Row("time on one core", cpu, "CPU s"),
        Row("memory over the texts", memory, "MB"),
        Row(f"datasketch, proposing pairs of {len(part):,} prompts", peer, "CPU s"),
    ]
    record("near_duplicates", rows)
    return 0 if found >= 0.99 and wrong <= 0.001 and seconds < 60 else 1


if __name__ == "__main__":
    sys.exit(main())
