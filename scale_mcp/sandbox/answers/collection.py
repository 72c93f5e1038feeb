"""Forms to fill in: ``textcollection``, answered as ``{field_id: value}`` (decisions.COLLECTION_FORM)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers.attributes import TEST_TEXT
from scale_mcp.sandbox.answers.ontology import choice_values
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Truth, folded
from scale_mcp.sandbox.noise import Noise
from scale_mcp.sandbox.workforce import Worker, colleagues

FIXED_DATE = "2020-01-01"
DATES = ("date", "datetime")


def _fields(given: Any) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, Mapping) and "field_id" in one] if isinstance(given, list) else []


def _repeats(field: Mapping[str, Any]) -> int:
    try:
        return int(field.get("max_responses_required") or 1)
    except (TypeError, ValueError):
        return 1


def respondents(params: Mapping[str, Any]) -> int:
    """How many people answer."""
    try:
        return max(1, min(int(params.get("responses_required") or 1), 100))
    except (TypeError, ValueError):
        return 1


# ------------------------------------------------------------------------------------------------------------ made up


def fabricate(paper: Paper) -> Answer:
    """Every field answered with a fixed value of its type; one list of answers per field when several people answer."""
    people = respondents(paper.params)
    answers = {str(field["field_id"]): _fixed(field) for field in _fields(paper.params.get("fields"))}
    if people > 1:
        answers = {name: [value] * people for name, value in answers.items()}
    return Answer({"annotations": answers})


def _fixed(field: Mapping[str, Any]) -> Any:
    value = _fixed_once(field)
    return [value] if _repeats(field) > 1 else value


def _fixed_once(field: Mapping[str, Any]) -> Any:
    kind = str(field.get("type"))
    if kind == "category":
        return choice_values(field.get("choices"))[:1]
    if kind == "number":
        return "1"
    if kind == "boolean":
        return True
    if kind in DATES:
        return FIXED_DATE
    if kind == "ranking_order":
        return list(range(_options(field)))
    if kind == "field_set":
        return {str(child["field_id"]): _fixed(child) for child in _fields(field.get("fields"))}
    return TEST_TEXT


def _options(field: Mapping[str, Any]) -> int:
    for name in ("num_items_to_rank", "num_options"):
        if isinstance(field.get(name), int):
            return max(0, min(int(field[name]), 100))
    choices = field.get("choices") or field.get("options")
    return len(choices) if isinstance(choices, list) else 0


# -------------------------------------------------------------------------------------------------------- from truth


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.answers if truth else None
    fields = _fields(paper.params.get("fields"))
    by_name = {folded(name): value for name, value in (known or {}).items()}
    if not any(folded(str(field["field_id"])) in by_name for field in fields):
        return Answer({"annotations": {}})
    report.use_truth()
    people = colleagues(worker, respondents(paper.params))
    if len(people) > 1:
        report.note("respondents", [person.email for person in people])
    answers: dict[str, Any] = {}
    for field in fields:
        name = str(field["field_id"])
        if folded(name) not in by_name:
            report.note("fields_without_truth", [name])
            continue
        given = [_said(field, by_name[folded(name)], person, paper.rng, report) for person in people]
        said = [value for value in given if value is not None]
        if said:
            answers[name] = said if len(people) > 1 else said[0]
    return Answer({"annotations": answers})


def _said(field: Mapping[str, Any], truth: Any, worker: Worker, rng: random.Random, report: Report) -> Any:
    """One person's answer to one field: the truth in the field's own words, or that with a mistake. None: no answer."""
    accepted = _accepted(field, truth)
    name = str(field["field_id"])
    if accepted is None:
        report.note("fields_without_truth", [name])
        return None
    if not field.get("required") and rng.random() < worker.noise.attribute_skipped:
        report.mistake("attribute_skipped", field=name, worker=worker.email)
        return None
    said = _with_mistakes(field, accepted, worker, rng)
    if said != accepted:
        report.mistake("answer_wrong", field=name, worker=worker.email, truth=accepted, answer=said)
    else:
        report.match(name, name)
    return said


def _accepted(field: Mapping[str, Any], truth: Any) -> Any:
    """A true answer in the field's form; None when its choices cannot express it."""
    if _repeats(field) > 1:
        many = [_accepted_once(field, one) for one in (truth if isinstance(truth, list) else [truth])]
        return [one for one in many if one is not None][: _repeats(field)] or None
    return _accepted_once(field, truth)


def _accepted_once(field: Mapping[str, Any], truth: Any) -> Any:
    kind = str(field.get("type"))
    if truth is None:
        return None
    if kind == "category":
        choices = {folded(str(value)): value for value in choice_values(field.get("choices"))}
        wanted = truth if isinstance(truth, list) else [truth]
        return [choices[folded(str(one))] for one in wanted if folded(str(one)) in choices] or None
    if kind == "field_set":
        inner = {folded(key): value for key, value in truth.items()} if isinstance(truth, Mapping) else {}
        known = {
            str(child["field_id"]): _accepted(child, inner.get(folded(str(child["field_id"]))))
            for child in _fields(field.get("fields"))
        }
        return {key: value for key, value in known.items() if value is not None} or None
    if kind == "boolean":
        return truth if isinstance(truth, bool) else None
    if kind == "ranking_order":
        return truth if isinstance(truth, list | str) else None
    return str(truth) if isinstance(truth, str | int | float) and not isinstance(truth, bool) else None


def _with_mistakes(field: Mapping[str, Any], value: Any, worker: Worker, rng: random.Random) -> Any:
    kind, noise = str(field.get("type")), worker.noise
    if _repeats(field) > 1:
        return [_with_mistake(kind, field, one, worker, noise, rng) for one in value]
    return _with_mistake(kind, field, value, worker, noise, rng)


def _with_mistake(
    kind: str, field: Mapping[str, Any], value: Any, worker: Worker, noise: Noise, rng: random.Random
) -> Any:
    if kind == "field_set":
        children = {str(child["field_id"]): child for child in _fields(field.get("fields"))}
        return {name: _with_mistakes(children[name], inner, worker, rng) for name, inner in value.items()}
    if kind == "category":
        if rng.random() < noise.wrong_class:
            return [noises.another(value[0], choice_values(field.get("choices")), rng), *value[1:]]
        return value
    if kind == "boolean":
        return not value if rng.random() < noise.wrong_class else value
    if kind == "ranking_order":
        if isinstance(value, list) and len(value) > 1 and rng.random() < noise.wrong_class:
            place = rng.randrange(len(value) - 1)  # two neighbours change places
            return [*value[:place], value[place + 1], value[place], *value[place + 2 :]]
        return value
    if kind in DATES or kind == "number":
        return _wrong_digit(value, rng) if rng.random() < noise.attribute_wrong else value
    return noises.misspelt(value, noise, rng)


def _wrong_digit(value: str, rng: random.Random) -> str:
    places = [place for place, letter in enumerate(value) if letter.isascii() and letter.isdigit()]
    if not places:
        return value
    place = places[-1]
    return value[:place] + str((int(value[place]) + rng.choice((1, 9))) % 10) + value[place + 1 :]
