"""Names in a text and how they relate: ``namedentityrecognition``. Offsets are as decisions.TEXT_OFFSETS has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers import attributes
from scale_mcp.sandbox.answers.ontology import Definition, leaves
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Span, TextTruth, Truth, folded
from scale_mcp.sandbox.workforce import Worker

TOKEN = re.compile(r"\w+|[^\w\s]")
MERGED_GAP = 3  # characters between two names of one kind that a hasty worker takes for one


def _families(labels: Any, above: tuple[str, ...] = ()) -> dict[str, tuple[tuple[str, ...], Mapping[str, Definition]]]:
    """By leaf label: the names it answers to (its own and its parents'), and its attribute definitions."""
    found: dict[str, tuple[tuple[str, ...], Mapping[str, Definition]]] = {}
    for label in labels if isinstance(labels, list) else []:
        if not isinstance(label, Mapping):
            found[str(label)] = ((str(label), *above), {})
            continue
        name = str(label.get("name", label.get("choice", "")))
        inner = label.get("children") or label.get("subchoices")
        if inner:
            found |= _families(inner, (name, *above))
        elif name:
            given = label.get("attributes")
            definitions = given if isinstance(given, Mapping) else {}
            found[name] = ((name, *above), {k: d for k, d in definitions.items() if isinstance(d, Mapping)})
    return found


def _relation_definitions(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = params.get("relationships")
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _answer(paper: Paper, spans: list[dict[str, Any]], relations: list[dict[str, Any]], scene: Any) -> Answer:
    response = {"annotations": spans, "relationships": relations}
    if paper.params.get("global_attributes"):
        response["global_attributes"] = scene
    return Answer(response)


# ------------------------------------------------------------------------------------------------------------ made up


def fabricate(paper: Paper) -> Answer:
    """One annotation per label, on the first word of the text; one relationship per definition."""
    text = str(paper.params.get("text", ""))
    word = TOKEN.search(text)
    start, end = word.span() if word else (0, 0)
    families = _families(paper.params.get("labels"))
    spans: list[dict[str, Any]] = [
        {
            "id": paper.new_id(),
            "start": start,
            "end": end,
            "text": text[start:end],
            "label": label.name,
            "attributes": attributes.fabricated(families.get(label.name, ((), {}))[1], label.name),
        }
        for label in leaves(paper.params.get("labels"))
    ]
    relations = []
    for definition in _relation_definitions(paper.params):
        ends = [
            next((span for span in spans if definition.get(side) in families[span["label"]][0]), None)
            for side in ("source_label", "target_label")
        ]
        if ends[0] and ends[1]:
            relations.append(_relation(paper, definition, ends[0]["id"], ends[1]["id"]))
    return _answer(paper, spans, relations, attributes.fabricated_scene(paper.params))


def _relation(paper: Paper, definition: Mapping[str, Any], source: str, target: str) -> dict[str, Any]:
    made = {"id": paper.new_id(), "source_ref": source, "target_ref": target}
    return made | {"name": definition["name"]} if definition.get("name") else made


# -------------------------------------------------------------------------------------------------------- from truth


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.text if truth else None
    if known is None:
        return _answer(paper, [], [], {})
    report.use_truth()
    text = str(paper.params.get("text", ""))
    families = _families(paper.params.get("labels"))
    by_name = {folded(name): name for name in families}
    asked = [(span, by_name[folded(span.label)]) for span in known.spans if folded(span.label) in by_name]
    unknown = [name for key, name in by_name.items() if key not in {folded(span.label) for span in known.spans}]
    if unknown:
        report.note("labels_without_truth", unknown)
    spans: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    for span, name in asked:
        _mark(paper, text, span, name, families, spans, ids, worker, report)
    _merge(paper, text, spans, ids, worker, report)
    scene = attributes.scene(paper.params, known.attributes, worker.noise, paper.rng, report)
    return _answer(paper, spans, _relations(paper, known, spans, ids, families, report), scene)


def _mark(
    paper: Paper,
    text: str,
    span: Span,
    name: str,
    families: Mapping[str, Any],
    spans: list[dict[str, Any]],
    ids: dict[str, str],
    worker: Worker,
    report: Report,
) -> None:
    """Mark one true name: perhaps not at all, perhaps too long or short, in two pieces, or as something else."""
    noise, rng = worker.noise, paper.rng
    if rng.random() < noise.missed:
        report.mistake("missed", truth=span.key, label=name, text=text[span.start : span.end])
        return
    uuid = paper.new_id()
    said = name
    others = [other for other in families if other != name]
    if others and rng.random() < noise.wrong_class:
        said = noises.confused_label(name, others, worker.email, rng)
        report.mistake("wrong_class", annotation=uuid, truth=span.key, label=name, answer=said)
    start, end = _moved(text, span.start, span.end, noise, rng)
    if (start, end) != (span.start, span.end):
        report.mistake("span_boundary", annotation=uuid, truth=span.key, answer=text[start:end])
    definitions = families[said][1]
    given = attributes.answered(definitions, said, span.attributes, noise, rng, report, uuid)
    ids[span.key] = uuid
    pieces = _pieces(text, start, end) if rng.random() < noise.span_split else [(start, end)]
    if len(pieces) > 1:
        report.mistake("span_split", annotation=uuid, truth=span.key)
    for piece_start, piece_end in pieces:
        spans.append(
            {
                "id": uuid,
                "start": piece_start,
                "end": piece_end,
                "text": text[piece_start:piece_end],
                "label": said,
                "attributes": given,
            }
        )
        uuid = paper.new_id()
    overlap = max(0, min(end, span.end) - max(start, span.start))
    report.match(ids[span.key], span.key, iou=overlap / max(max(end, span.end) - min(start, span.start), 1))


def _moved(text: str, start: int, end: int, noise: noises.Noise, rng: Any) -> tuple[int, int]:
    """The ends of a span, each perhaps one token off. At least one token stays."""
    tokens = [found.span() for found in TOKEN.finditer(text)]
    own = [token for token in tokens if token[0] < end and token[1] > start]
    if not own:
        return start, end
    first, last = tokens.index(own[0]), tokens.index(own[-1])
    before, after = first, last
    if rng.random() < noise.span_boundary:
        first = max(0, min(first + rng.choice((-1, 1)), last))
    if rng.random() < noise.span_boundary:
        last = min(len(tokens) - 1, max(last + rng.choice((-1, 1)), first))
    new_start = start if first == before else tokens[first][0]
    new_end = end if last == after else tokens[last][1]
    return (new_start, new_end) if new_start < new_end else (start, end)


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A span of several words in two pieces; of one word, whole."""
    gap = re.search(r"\s+", text[start:end])
    if gap is None or gap.start() == 0 or start + gap.end() >= end:
        return [(start, end)]
    return [(start, start + gap.start()), (start + gap.end(), end)]


def _merge(
    paper: Paper, text: str, spans: list[dict[str, Any]], ids: dict[str, str], worker: Worker, report: Report
) -> None:
    """Take two neighbours of one kind for one name, now and then."""
    spans.sort(key=lambda span: (span["start"], span["end"]))
    position = 0
    while position + 1 < len(spans):
        one, two = spans[position], spans[position + 1]
        close = 0 <= two["start"] - one["end"] <= MERGED_GAP and one["label"] == two["label"]
        if close and paper.rng.random() < worker.noise.span_merged:
            report.mistake("span_merged", annotation=one["id"], answer=text[one["start"] : two["end"]])
            one |= {"end": two["end"], "text": text[one["start"] : two["end"]]}
            for key, uuid in ids.items():
                if uuid == two["id"]:
                    ids[key] = one["id"]
            del spans[position + 1]
        else:
            position += 1


def _relations(
    paper: Paper,
    known: TextTruth,
    spans: list[dict[str, Any]],
    ids: Mapping[str, str],
    families: Mapping[str, Any],
    report: Report,
) -> list[dict[str, Any]]:
    """The true relationships that the task defines and whose two ends were marked as what the definition wants."""
    names = {span["id"]: families[span["label"]][0] for span in spans}
    made = []
    for source, target, name in known.relations:
        ends = ids.get(source), ids.get(target)
        definition = next(
            (
                one
                for one in _relation_definitions(paper.params)
                if _defines(one, name, *(names.get(e or "") for e in ends))
            ),
            None,
        )
        if definition is not None and ends[0] and ends[1] and ends[0] != ends[1]:
            made.append(_relation(paper, definition, ends[0], ends[1]))
        elif any(folded(str(one.get("name"))) == folded(str(name)) for one in _relation_definitions(paper.params)):
            report.mistake("relationship_lost", source=source, target=target, name=name)
    return made


def _defines(
    definition: Mapping[str, Any], name: str | None, source: tuple[str, ...] | None, target: tuple[str, ...] | None
) -> bool:
    if definition.get("name") and folded(str(definition["name"])) != folded(str(name)):
        return False
    wanted = definition.get("source_label"), definition.get("target_label")
    fits = wanted[0] in (source or ()) and wanted[1] in (target or ())
    turned = wanted[0] in (target or ()) and wanted[1] in (source or ())
    return fits or (turned and not definition.get("is_directed"))


def shifted(truth: TextTruth, characters: int) -> TextTruth:
    """The same truth for a text with that many more characters in front."""
    return replace(
        truth,
        spans=tuple(replace(s, start=s.start + characters, end=s.end + characters) for s in truth.spans),
    )
