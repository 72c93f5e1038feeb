"""Finding a tool from a plain-language request: what its card says, and how people usually ask for it.

The card's words are matched by BM25 over weighted fields, with stems and everyday synonyms; the usual requests give
evidence word by word (phrasings.py). Small on purpose: there are a few dozen tools, so no index library and no model
is needed; what matters is that "who is allowed to label what" meets "studio assignments".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from scale_mcp.server.phrasings import Evidence, phrasings
from scale_mcp.server.vocabulary import SYNONYMS, is_question, plurals, words
from scale_mcp.tools.card import Card

SATURATION, LENGTH_SHARE = 1.2, 0.4  # BM25's k1 and b; descriptions differ in length for no good reason, so b is low
WEIGHTS = {"name": 3.0, "title": 2.5, "keywords": 2.5, "description": 1.0}
SYNONYM_WEIGHT = 0.55  # of a word that only stands near what was asked for
PLURAL_WEIGHT = 0.5  # "tasks" is more often said for list_tasks than for get_task
SHORTEST_GUESS = 5  # letters of a word that may be guessed at

READING_BONUS = 1.25  # a question wants to know something
NAME_BONUS = 2.0  # a request that speaks of a whole tool name counts three times
NAMED_BONUS = 10.0  # a letter, for a tool that is called by its name


@dataclass(frozen=True)
class Hit:
    card: Card
    score: float


class ToolSearch:
    """Ranks cards for a request. Only the given cards can ever be found."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self._cards = list(cards)
        self._terms = [_weighted_terms(card) for card in self._cards]
        lengths = [sum(terms.values()) for terms in self._terms]
        average = sum(lengths) / len(lengths)
        self._norms = [SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length / average) for length in lengths]
        found_in = Counter(term for terms in self._terms for term in terms)
        total = len(self._cards)
        self._rarity = {term: math.log(1 + (total - n + 0.5) / (n + 0.5)) for term, n in found_in.items()}
        self._vocabulary = list(dict.fromkeys((*self._rarity, *SYNONYMS)))
        self._by_beginning: dict[str, list[str]] = {}
        for word in self._vocabulary:
            self._by_beginning.setdefault(word[:SHORTEST_GUESS], []).append(word)
        self._names = [frozenset(words(card.name.replace("_", " "))) for card in self._cards]

    def find(self, query: str, limit: int = 5) -> list[Hit]:
        """The best cards for ``query``, best first; none when nothing fits at all."""
        fitting = self._fitting(query)
        best = max(fitting)
        evidence = self._evidence.of(query)
        named = query.lower().replace(" ", "_")
        hits = []
        for card, fits, speaks in zip(self._cards, fitting, evidence, strict=True):
            score = (fits / best if best else 0.0) + speaks
            if card.name in named:
                score += len(card.name) * NAMED_BONUS  # the longer name, where one stands within the other
            if fits or speaks:
                hits.append(Hit(card, score))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self._cards, phrasings())

    def _fitting(self, query: str) -> list[float]:
        """How well the query fits what each card says."""
        asked = list(dict.fromkeys(self._known(word) for word in words(query)))
        several = plurals(query)
        reading = is_question(query)
        scores = []
        for card, terms, norm, name in zip(self._cards, self._terms, self._norms, self._names, strict=True):
            score = sum(self._worth(word, terms, norm) for word in asked)
            score += PLURAL_WEIGHT * sum(self._bm25(word, terms, norm) for word in several)
            score *= 1 + NAME_BONUS * _covered(name, asked)
            if reading and card.risk == "read":
                score *= READING_BONUS
            scores.append(score)
        return scores

    def _worth(self, word: str, terms: Mapping[str, float], norm: float) -> float:
        """What one word of the request finds in a card: itself, or the best of the words that mean nearly the same."""
        itself = self._bm25(word, terms, norm)
        near = max((self._bm25(other, terms, norm) for other in SYNONYMS.get(word, ())), default=0.0)
        return max(itself, SYNONYM_WEIGHT * near)

    def _known(self, word: str) -> str:
        """A word that is in no card and means nothing to us may be another form of one that is, or misspelt."""
        if word in self._rarity or word in SYNONYMS or len(word) < SHORTEST_GUESS:
            return word
        for other in self._by_beginning.get(word[:SHORTEST_GUESS], ()):
            alike = max(len(word), len(other)) - 4
            if word[:alike] == other[:alike]:
                return other
        misspelt = [other for other in self._vocabulary if other[0] == word[0] and abs(len(other) - len(word)) < 3]
        return next(iter(get_close_matches(word, misspelt, n=1, cutoff=0.85)), word)

    def _bm25(self, term: str, terms: Mapping[str, float], norm: float) -> float:
        if term not in terms:
            return 0.0
        return self._rarity[term] * terms[term] * (SATURATION + 1) / (terms[term] + norm)


def _covered(name: frozenset[str], asked: list[str]) -> float:
    """How much of a tool's name the request speaks of, from 0 to 1."""
    spoken = {other for word in asked for other in SYNONYMS.get(word, ())}
    return sum(1.0 if term in asked else SYNONYM_WEIGHT if term in spoken else 0.0 for term in name) / len(name)


def _weighted_terms(card: Card) -> dict[str, float]:
    fields = {
        "name": card.name.replace("_", " "),
        "title": card.title,
        "keywords": " ".join(card.keywords),
        "description": card.description,
    }
    terms: dict[str, float] = {}
    for field, text in fields.items():
        found = words(text) + (plurals(text) if field != "description" else [])
        for term, count in Counter(found).items():
            terms[term] = terms.get(term, 0.0) + WEIGHTS[field] * min(count, 2)
    return terms
