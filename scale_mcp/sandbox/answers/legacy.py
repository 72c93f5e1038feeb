"""Task types of the years before geometries, answered in the shapes recorded from test mode in 2019."""

from __future__ import annotations

from typing import Any

from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers import picture
from scale_mcp.sandbox.answers.attributes import TEST_TEXT
from scale_mcp.sandbox.answers.ontology import choice_values, leaves, truthy
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Truth, folded
from scale_mcp.sandbox.workforce import Worker

SHAPES = {
    "annotation": "box",
    "polygonannotation": "polygon",
    "lineannotation": "line",
    "pointannotation": "point",
    "cuboidannotation": "cuboid",
}
TRANSCRIPT = "This is an example transcript"


def _names(given: Any) -> list[str]:
    """Field names of a transcription: keys of an object, or the items of a list."""
    if isinstance(given, dict):
        return [str(name) for name in given]
    listed = given if isinstance(given, list) else []
    return [str(one.get("field_id", one.get("name"))) if isinstance(one, dict) else str(one) for one in listed]


# ------------------------------------------------------------------------------------------------------------ made up


def fabricate_category(paper: Paper) -> Answer:
    first = choice_values(paper.params.get("categories"))[:1]
    if truthy(paper.params.get("allow_multiple")):
        return Answer({"category": first})
    return Answer({"category": first[0] if first else None})


def fabricate_choice(paper: Paper) -> Answer:
    first = choice_values(paper.params.get("choices"))[:1]
    return Answer({"choice": first[0] if first else None})


def fabricate_fields(paper: Paper) -> Answer:
    fields = dict.fromkeys(_names(paper.params.get("fields")), TEST_TEXT)
    return Answer({"fields": fields, "repeatable_fields": [None, None]})


def fabricate_collected(paper: Paper) -> Answer:
    fields = dict.fromkeys(_names(paper.params.get("fields")), TEST_TEXT)
    return Answer({"fields": fields, "time_spent_in_seconds": 15})


def fabricate_transcript(paper: Paper) -> Answer:
    words = TRANSCRIPT.split()
    alignment = [
        {"word": word, "start": number, "end": number + 1, "confidence": 1} for number, word in enumerate(words)
    ]
    return Answer({"transcript": f"{TRANSCRIPT} …", "duration": len(words), "alignment": alignment})


def fabricate_shapes(paper: Paper) -> Answer:
    """One annotation with the last object's label; a point task is completed without any response at all."""
    geometry = SHAPES[paper.type]
    if geometry == "point":
        return Answer(None)
    annotation = dict(picture.FIXED_SHAPES[geometry])
    annotation.pop("edges", None)  # the record of a cuboid has its six vertices only
    names = [label.name for label in leaves(paper.params.get("objects_to_annotate"))]
    if names:
        annotation["label"] = names[-1]
    return Answer({"annotations": [annotation]})


# -------------------------------------------------------------------------------------------------------- from truth


def label_category(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    """The category that was expected, or those of the categories that name something in the picture."""
    choices = choice_values(paper.params.get("categories"))
    many = truthy(paper.params.get("allow_multiple"))
    known = (truth.answers or {}).get("category") if truth else None
    wanted = {folded(str(one)) for one in (known if isinstance(known, list) else [known]) if one is not None}
    right = [choice for choice in choices if folded(str(choice)) in wanted]
    if not right and truth and truth.picture:
        right = [choice for choice in choices if any(one.called(str(choice)) for one in truth.picture.objects)]
    if not right:
        return Answer({"category": [] if many else None})
    report.use_truth()
    return Answer({"category": _chosen(right, choices, paper, worker, report, many=many)})


def _chosen(
    right: list[Any], choices: list[Any], paper: Paper, worker: Worker, report: Report, *, many: bool = False
) -> Any:
    said = list(right) if many else right[0]
    if paper.rng.random() < worker.noise.wrong_class:
        wrong = noises.another(right[0], choices, paper.rng)
        said = [wrong, *right[1:]] if many else wrong
        report.mistake("wrong_class", label=right[0], answer=wrong)
    return said


def label_choice(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    choices = choice_values(paper.params.get("choices"))
    known = (truth.answers or {}).get("choice") if truth else None
    if known is None or known not in choices:
        return Answer({"choice": None})
    report.use_truth()
    return Answer({"choice": _chosen([known], choices, paper, worker, report)})


def _known_fields(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> dict[str, str]:
    known = dict(truth.answers or {}) if truth else {}
    if isinstance(known.get("fields"), dict):
        known = known["fields"]
    by_name = {folded(name): value for name, value in known.items()}
    fields: dict[str, str] = {}
    for name in _names(paper.params.get("fields")):
        value = by_name.get(folded(name))
        if not isinstance(value, str | int | float):
            report.note("fields_without_truth", [name])
            continue
        report.use_truth()
        fields[name] = noises.misspelt(str(value), worker.noise, paper.rng)
        if fields[name] != str(value):
            report.mistake("text_wrong", field=name, truth=value, answer=fields[name])
    return fields


def label_fields(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    return Answer({"fields": _known_fields(paper, truth, worker, report), "repeatable_fields": []})


def label_collected(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    return Answer({"fields": _known_fields(paper, truth, worker, report), "time_spent_in_seconds": 0})


def label_transcript(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = (truth.answers or {}).get("transcript") if truth else None
    if not isinstance(known, str):
        return Answer({"transcript": "", "duration": 0, "alignment": []})
    report.use_truth()
    return Answer({"transcript": noises.misspelt(known, worker.noise, paper.rng), "alignment": []})


def label_shapes(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    """As ``imageannotation``, with one geometry and the labels beside it."""
    options = {name: paper.params.get(name) for name in ("objects_to_annotate", "min_width", "min_height")}
    paper.params["geometries"] = {SHAPES[paper.type]: {k: v for k, v in options.items() if v is not None}}
    answer = picture.label(paper, truth, worker, report)
    drawn = (answer.response or {})["annotations"]
    return Answer({"annotations": [{k: v for k, v in one.items() if k != "type"} for one in drawn]})
