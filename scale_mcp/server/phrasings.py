"""How people ask for each tool, and what the words of a request say about which one they mean.

``phrasings.txt`` holds some two dozen requests per tool. From them each word gets its weight of evidence for a tool:
how much more often it stands in requests for that tool than in requests at all (a naive Bayes classifier). A tool's
own requests are few, so it also learns from its kin: the tools with the same verb or the same nouns in their name, of
its toolset, and of its risk. "How many" comes with lists whatever they list.

Names, ids, addresses and paths never repeat, so what counts of them is their kind; see MARKS.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from scale_mcp.server.vocabulary import SYNONYMS, stem
from scale_mcp.tools.card import Card

BANK = Path(__file__).with_name("phrasings.txt")

EVERY = "every request"
OWN_SHARE, KIN_SHARE = 0.05, 0.03  # of what a tool's own requests say, and those of each kind of kin
LIKE_VERBS = {"remove": "delete", "reset": "delete", "cancel": "delete", "invite": "add", "update": "set"}
PAIR_WEIGHT = 0.5  # of two words in a row, beside those of each
SYNONYM_SHARE = 0.15  # of a request that has only a word with nearly the same meaning
SMOOTHING = 1.0  # requests that a tool is taken to have had, worded as requests are on average

# What stands for any of its kind, by a word that people cannot type. The first that fits takes the text away.
MARKS = {
    "url": r"\b(?:https?|s3|gs)://\S+",
    "mail": r"\b[\w.+-]+@[\w.-]+\.\w+",
    "fields": r"\{[^{}:]*:[^{}]*\}|\b\w+\s?=\s?[\w\"']+",
    "path": r"(?:(?<=\s)|^)(?:[~.]{0,2}/|[a-z]:\\)\S+"
    r"|\b[\w-]{1,80}\.(?:jpe?g|png|tiff?|bmp|gif|webp|pdf|mp4|mov|webm|avi|ogg|wav|pcd|las|ply|csv|json|txt|zip|docx)\b",
    "id": r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{4,24}\b",
    "name": r"\b\w+_\w*\b|[\"'“][^\"'”]{1,40}[\"'”]|\b[a-z]+-?\d+\b",
    "number": r"\b\d+\b",
}
MARKED = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in MARKS.items()))
PLAIN = re.compile(r"[a-z ,.?']*")
ENDING = re.compile(r"\.([a-z0-9]{2,4})\W*$")
WORD = re.compile(r"@?[a-z0-9]+")
QUESTION = re.compile(
    r"\W*(?:who|whom|whose|which|what(?:s)?|how|is|are|was|were|has|have|did|does|do|when|where|why|any)\b|.*\?\s*$",
    re.S,
)

# Unlike in a tool's description, "off", "not", "how many" and "who" say a lot in a request; these do not.
FILLERS = frozenset(
    """
    a an the of to and or is are was be i we my our your it its this that these those please pls for with so can could
    you do does me us would
    """.split()  # noqa: SIM905
)

known_stem = lru_cache(maxsize=4096)(stem)


def phrasings() -> dict[str, list[str]]:
    """The requests of the bank by the tool they ask for."""
    bank: dict[str, list[str]] = {}
    requests: list[str] = []
    for line in BANK.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            requests.append(line.strip())
        elif line and not line.startswith("#"):
            requests = bank[line] = []
    return bank


def features(text: str) -> dict[str, float]:
    """What counts of a request: its words, kinds in place of values, and neighbours, with their weights."""
    text = text[:2000].lower().replace("n't", " not")
    if not PLAIN.fullmatch(text):
        text = MARKED.sub(_mark, text)
    stems = [word if word[0] == "@" else known_stem(word) for word in WORD.findall(text) if word not in FILLERS]
    pairs = {f"{first} {second}": PAIR_WEIGHT for first, second in pairwise(stems)}
    return {**dict.fromkeys(stems, 1.0), **pairs}


def form(text: str) -> str:
    """Whether something is asked or to be done, as a feature."""
    return "@question" if QUESTION.match(text[:2000].lower()) else "@order"


class Evidence:
    """Weighs the words of requests for each of ``cards``; of the bank, only their requests are looked at."""

    def __init__(self, cards: Sequence[Card], bank: Mapping[str, Sequence[str]]) -> None:
        self._kin = [{EVERY: 0.0, **_kin(card)} for card in cards]
        self._requests: Counter[str] = Counter()  # how many there are of each group
        self._seen: dict[str, Counter[int]] = {}  # in how many of each card's a feature stands
        self._weighed: dict[str, list[float]] = {}
        for place, card in enumerate(cards):
            requests = bank.get(card.name, ())
            self._requests.update(dict.fromkeys(self._kin[place], len(requests)))
            for request in requests:
                for feature in (*features(request), form(request)):
                    self._seen.setdefault(feature, Counter())[place] += 1

    def of(self, query: str) -> list[float]:
        """The evidence for each card, in their order: above zero speaks for it, below against it.

        All zero when no word is known.
        """
        said = [(weight, self._weights(feature)) for feature, weight in features(query).items()]
        if not any(weights for _, weights in said):
            return [0.0] * len(self._kin)
        said.append((1.0, self._weights(form(query))))
        return [sum(weight * weights[place] for weight, weights in said if weights) for place in range(len(self._kin))]

    def _weights(self, feature: str) -> list[float]:
        """What one feature says about each card; nothing when it and its synonyms are in no request."""
        if feature in self._weighed:
            return self._weighed[feature]
        counts: dict[int, float] = {**self._seen.get(feature, {})}
        for other in SYNONYMS.get(feature, ()):
            for place, number in self._seen.get(other, {}).items():
                counts[place] = counts.get(place, 0) + SYNONYM_SHARE * number
        if not counts:
            return []
        seen: dict[str, float] = {}
        for place, count in counts.items():
            for group in self._kin[place]:
                seen[group] = seen.get(group, 0) + count
        usual = (seen[EVERY] + 0.5) / (self._requests[EVERY] + 1)
        speaks = {
            group: math.log((seen.get(group, 0) / usual + SMOOTHING) / (number + SMOOTHING))
            for group, number in self._requests.items()
        }
        weights = [sum(share * speaks.get(group, 0.0) for group, share in kin.items()) for kin in self._kin]
        self._weighed[feature] = weights  # as many at most as there are words in the bank and the vocabulary
        return weights


def _kin(card: Card) -> dict[str, float]:
    """The groups of tools that a card learns from, and how much."""
    verb, *nouns = card.name.split("_")
    shared = {f"noun {stem(noun)}": KIN_SHARE / len(nouns) for noun in nouns}
    return {
        card.name: OWN_SHARE,
        f"verb {LIKE_VERBS.get(verb, verb)}": KIN_SHARE,
        **shared,
        f"toolset {card.toolset}": KIN_SHARE,
        f"risk {card.risk}": KIN_SHARE,
    }


def _mark(found: re.Match[str]) -> str:
    """The kind of a value; of a file also its ending, which tells a video from a scan."""
    ending = ENDING.search(found.group()) if found.lastgroup in ("url", "path") else None
    return f" @{found.lastgroup} {ending.group(1) if ending else ''} "
