"""Text on pages: ``documenttranscription``, with ``document_pages`` on the task beside the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scale_mcp.sandbox import decisions, geometry
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers.attributes import TEST_TEXT
from scale_mcp.sandbox.answers.paper import Answer, Paper, Size
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Block, Truth, folded
from scale_mcp.sandbox.workforce import Worker

FABRICATED_EXTRAS: dict[str, Any] = {
    "money": {"amount": 1.0, "currency": "USD"},
    "date": {"year": 2020, "month": 1, "day": 1},
    "checked": True,
}
EXTRA_OF_FLAG = dict(zip(decisions.FEATURE_FLAGS.value, ("money", "date", "checked"), strict=True))


def _wanted(params: Mapping[str, Any]) -> dict[str, set[str]]:
    """The extras asked for by label of the features. How a flag is written is not known, so any mention counts."""
    wanted: dict[str, set[str]] = {}
    features = params.get("features")
    for feature in features if isinstance(features, list) else []:
        if isinstance(feature, Mapping) and feature.get("label") is not None:
            extras = wanted.setdefault(str(feature["label"]), set())
            extras |= {EXTRA_OF_FLAG[word] for word in _words(feature) if word in EXTRA_OF_FLAG}
    return wanted


def _words(feature: Mapping[str, Any]) -> set[str]:
    words: set[str] = set()
    for key, value in feature.items():
        if key == "label":
            continue
        values = value if isinstance(value, list) else [value]
        words |= {one.lower() for one in values if isinstance(one, str)}
        if value is True:
            words.add(key.lower())
    return words


def _attachments(params: Mapping[str, Any]) -> list[str]:
    many = params.get("attachments")
    given = many if isinstance(many, list) and many else [params.get("attachment")]
    return [one for one in given if isinstance(one, str)]


def _pages(params: Mapping[str, Any], sizes: list[Size | None]) -> list[dict[str, Any]] | None:
    """``document_pages``: one entry per page with its size and address; None when no size is known."""
    if not any(sizes):
        return None
    attachments = _attachments(params)
    pages = []
    for number, size in enumerate(sizes):
        page: dict[str, Any] = {"width": size[0], "height": size[1]} if size else {"width": None, "height": None}
        pages.append(page | ({"url": attachments[number]} if number < len(attachments) else {}))
    return pages


def fabricate(paper: Paper) -> Answer:
    """One block per label at fixed places on the first page."""
    annotations = []
    for number, (label, extras) in enumerate(_wanted(paper.params).items()):
        location = {"type": "box", "left": 10, "top": 10 + 20 * number, "width": 100, "height": 15}
        block: dict[str, Any] = {"uuid": paper.new_id(), "page": 0, "label": label, "text": TEST_TEXT}
        block |= {"location": location, "refs": []}
        annotations.append(block | {name: FABRICATED_EXTRAS[name] for name in sorted(extras)})
    sizes: list[Size | None] = [paper.size or decisions.TEST_PAGE_SIZE.value] * max(len(_attachments(paper.params)), 1)
    return Answer({"annotations": annotations}, document_pages=_pages(paper.params, sizes))


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.document if truth else None
    if known is None:
        return Answer({"annotations": []}, document_pages=_pages(paper.params, [paper.size]))
    report.use_truth()
    wanted = _wanted(paper.params)
    by_name = {folded(name): name for name in wanted}
    unknown = [name for key, name in by_name.items() if key not in {folded(block.label) for block in known.blocks}]
    if unknown:
        report.note("labels_without_truth", unknown)
    ids: dict[str, str] = {}
    annotations: list[dict[str, Any]] = []
    sources: list[Block] = []
    for block in known.blocks:
        name = by_name.get(folded(block.label))
        if name is None:
            continue
        if paper.rng.random() < worker.noise.missed:
            report.mistake("missed", truth=block.key, label=name, text=block.text)
            continue
        ids[block.key] = paper.new_id()
        size = known.pages[block.page] if block.page < len(known.pages) else None
        annotations.append(_transcribed(paper, block, ids[block.key], name, wanted, size, worker, report))
        sources.append(block)
    for annotation, block in zip(annotations, sources, strict=True):
        annotation["refs"] = [ids[key] for key in block.refs if key in ids]
    return Answer({"annotations": annotations}, document_pages=_pages(paper.params, list(known.pages)))


def _transcribed(
    paper: Paper,
    block: Block,
    uuid: str,
    name: str,
    wanted: Mapping[str, set[str]],
    size: Size | None,
    worker: Worker,
    report: Report,
) -> dict[str, Any]:
    noise, rng = worker.noise, paper.rng
    said = name
    others = [other for other in wanted if other != name]
    if others and rng.random() < noise.wrong_class:
        said = noises.confused_label(name, others, worker.email, rng)
        report.mistake("wrong_class", annotation=uuid, truth=block.key, label=name, answer=said)
    text = noises.misspelt(block.text, noise, rng)
    if text != block.text:
        report.mistake("text_wrong", annotation=uuid, truth=block.text, answer=text)
    region = (0.0, 0.0, float(size[0]), float(size[1])) if size else None
    true_place = dict(block.location)
    if true_place.get("vertices"):
        ring = noises.ring(geometry.points_of({"vertices": true_place["vertices"]}), noise, rng, region)
        location: dict[str, Any] = {"type": "polygon", "vertices": geometry.vertices(ring)}
        report.match(uuid, block.key)
    else:
        upright = {key: true_place[key] for key in ("left", "top", "width", "height")}
        drawn = noises.box(upright, noise, rng, region)
        location = {"type": "box", **drawn}
        report.match(uuid, block.key, iou=geometry.iou(drawn, upright))
    made: dict[str, Any] = {"uuid": uuid, "page": block.page, "label": said, "text": text, "location": location}
    made["refs"] = []
    return made | {key: value for key, value in block.extras.items() if key in wanted[said]}
