"""Finding a tool from a plain-language request: BM25 over weighted fields, with stems and everyday synonyms.

Small on purpose: there are a few dozen tools, so no index library and no model is needed; what matters is that
"who is allowed to label what" meets "studio assignments".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scale_mcp.server.vocabulary import SYNONYMS, words
from scale_mcp.tools.card import Card

WEIGHTS = {"name": 3.0, "title": 2.5, "keywords": 2.5, "description": 1.0}
SYNONYM_WEIGHT = 0.55  # of a word that only stands near what was asked for
SATURATION, LENGTH_SHARE = 1.2, 0.4  # BM25's k1 and b; descriptions differ in length for no good reason, so b is low


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

    def find(self, query: str, limit: int = 5) -> list[Hit]:
        """The best cards for ``query``, best first; none when nothing fits at all."""
        wanted = _query_terms(query)
        hits = [
            Hit(card, score)
            for card, terms, norm in zip(self._cards, self._terms, self._norms, strict=True)
            if (score := self._score(wanted, terms, norm)) > 0
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def _score(self, wanted: Mapping[str, float], terms: Mapping[str, float], norm: float) -> float:
        return sum(
            weight * self._rarity[term] * terms[term] * (SATURATION + 1) / (terms[term] + norm)
            for term, weight in wanted.items()
            if term in terms
        )


def _weighted_terms(card: Card) -> dict[str, float]:
    fields = {
        "name": card.name.replace("_", " "),
        "title": card.title,
        "keywords": " ".join(card.keywords),
        "description": card.description,
    }
    terms: dict[str, float] = {}
    for field, text in fields.items():
        for term, count in Counter(words(text)).items():
            terms[term] = terms.get(term, 0.0) + WEIGHTS[field] * min(count, 2)
    return terms


def _query_terms(query: str) -> dict[str, float]:
    asked = words(query)
    terms = dict.fromkeys(asked, 1.0)
    for term in asked:
        for near in SYNONYMS.get(term, ()):
            terms.setdefault(near, SYNONYM_WEIGHT)
    return terms
