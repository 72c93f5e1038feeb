"""Every pixel a label: ``segmentannotation``, answered with real PNG masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox import decisions, geometry, media
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers import attributes
from scale_mcp.sandbox.answers.ontology import Label, attribute_definitions, segment_labels
from scale_mcp.sandbox.answers.paper import PNG, Answer, Paper, Size
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import PictureTruth, TrueObject, Truth
from scale_mcp.sandbox.workforce import Worker

if TYPE_CHECKING:
    from PIL.Image import Image

UNKNOWN_SIZE: Size = (1, 1)  # of an all-unlabeled mask when nothing is known, not even the size


class Segments:
    """The masks of one answer on their way into Scale's response: an index per label, or per instance."""

    def __init__(self, size: Size) -> None:
        self.map = media.IndexMap(size)
        self.indexes: dict[str, list[int]] = {}
        self.instances: dict[str, bool] = {}
        self.attributes: dict[int, dict[str, Any]] = {}
        self._next = 1

    def lay(self, label: Label, mask: Image) -> int:
        """Put a mask under a label: a new index for every instance, one shared index otherwise."""
        known = self.indexes.setdefault(label.name, [])
        self.instances[label.name] = label.instance
        if label.instance or not known:
            known.append(self._next)
            self._next += 1
        self.map.lay(mask, known[-1])
        return known[-1]

    def response(self, paper: Paper) -> dict[str, Any]:
        """Publish the masks and give the response that points at them. Segments that got covered whole drop out."""
        pixels = self.map.counts()
        colours = {i: media.colour_of(number) for number, i in enumerate(range(1, self._next), start=1)}
        labeled: dict[str, Any] = {}
        mapping: dict[str, Any] = {}
        for name, indexes in self.indexes.items():
            seen = [index for index in indexes if pixels[index]]
            if not seen:
                continue
            urls = [paper.publish(media.as_png(self.map.mask(index)), PNG) for index in seen]
            entries = [self._entry(index, colours[index], pixels[index]) for index in seen]
            single = not self.instances[name]
            labeled[name], mapping[name] = (urls[0], entries[0]) if single else (urls, entries)
        annotations: dict[str, Any] = {"labeled": labeled}
        if pixels[0]:
            annotations["unlabeled"] = paper.publish(media.as_png(self.map.mask(0)), PNG)
        annotations["combined"] = {
            "image": paper.publish(media.as_png(self.map.coloured(colours)), PNG),
            "indexedImage": paper.publish(media.as_png(self.map.indexed()), PNG),
            "extendedIndexedImage": paper.publish(media.as_png(self.map.extended()), PNG),
        }
        return {"annotations": annotations, "labelMapping": mapping}

    def _entry(self, index: int, colour: str, pixels: int) -> dict[str, Any]:
        entry: dict[str, Any] = {"index": index, "color": colour, "numPixels": pixels}
        return (
            entry | {decisions.SEGMENT_ATTRIBUTES.value: self.attributes[index]} if index in self.attributes else entry
        )


def fabricate(paper: Paper) -> Answer:
    """Upright stripes of equal width, one per label, whatever the picture shows."""
    labels = segment_labels(paper.params)
    width, height = _drawable(paper.size) or decisions.TEST_MASK_SIZE.value
    segments = Segments((width, height))
    for number, label in enumerate(labels):
        left, right = width * number // len(labels), width * (number + 1) // len(labels) - 1
        index = segments.lay(
            label, media.filled([(left, 0), (right, 0), (right, height), (left, height)], segments.map.size)
        )
        definitions = attribute_definitions(paper.params)
        if definitions:
            segments.attributes[index] = attributes.fabricated(definitions, label.name)
    return _answer(paper, segments, attributes.fabricated_scene(paper.params))


def _drawable(size: Size | None) -> Size | None:
    """The size of the masks to make; None when it is unknown or more than we draw."""
    return size if size and size[0] * size[1] <= media.LARGEST_MASK else None


def _answer(paper: Paper, segments: Segments, scene: Mapping[str, Any]) -> Answer:
    response = segments.response(paper)
    if attribute_definitions(paper.params, of_scene=True):
        response["global_attributes"] = dict(scene)
    return Answer(response)


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.picture if truth else None
    size = _drawable((known.size if known else None) or paper.size)
    if known is None or size is None:
        if size is None:
            report.note("mask_size", "unknown, or too large to draw")
        return _answer(paper, Segments(size or UNKNOWN_SIZE), {})
    report.use_truth()
    segments = Segments(size)
    labels = segment_labels(paper.params)
    unknown = [label.name for label in labels if not any(one.called(label.name) for one in known.objects)]
    if unknown:
        report.note("labels_without_truth", unknown)
    scene = attributes.scene(paper.params, known.attributes, worker.noise, paper.rng, report)
    # The background goes first and everything else over it, so that it is what remains.
    for one in sorted(known.objects, key=lambda one: not one.rest):
        _lay(paper, segments, one, labels, known, size, worker, report)
    return _answer(paper, segments, scene)


def _lay(
    paper: Paper,
    segments: Segments,
    one: TrueObject,
    labels: list[Label],
    known: PictureTruth,
    size: Size,
    worker: Worker,
    report: Report,
) -> None:
    asked = next((label for label in labels if one.called(label.name)), None)
    if asked is None:
        return
    mask = _rest_mask(known, labels, size) if one.rest else true_mask(one, size)
    if mask is None:
        report.note("geometry_without_truth", [f"mask of {one.label}"])
        return
    noise, rng = worker.noise, paper.rng
    if not one.rest and noises.is_missed(mask.histogram()[255] ** 0.5, noise, rng):
        report.mistake("missed", truth=one.key, label=asked.name)
        return
    said = asked
    others = [label.name for label in labels if label.name != asked.name]
    if others and not one.rest and rng.random() < noise.wrong_class:
        name = noises.confused_label(asked.name, others, worker.email, rng)
        said = next(label for label in labels if label.name == name)
    if not one.rest:
        mask = _smudged(mask, noise, rng)
    index = segments.lay(said, mask)
    if said is not asked:
        report.mistake("wrong_class", index=index, truth=one.key, label=asked.name, answer=said.name)
    report.match(str(index), one.key)
    definitions = attribute_definitions(paper.params)
    if definitions:
        segments.attributes.setdefault(index, {}).update(
            attributes.answered(definitions, said.name, one.attributes, noise, rng, report, f"index {index}")
        )


def _smudged(mask: Image, noise: noises.Noise, rng: Any) -> Image:
    """The mask a little off; the mask itself when nothing would be left of it."""
    right, down = (round(noises.draw(noise, rng) * noise.mask_shift) for _ in range(2))
    swell = rng.choice((-1, 1)) if rng.random() < noise.mask_swollen else 0
    drawn = media.shifted(mask, right, down, swell)
    return drawn if drawn.getbbox() else mask


def true_mask(one: TrueObject, size: Size) -> Image | None:
    """The exact mask of an object: stored, or filled from its outline."""
    if one.mask is not None:
        return media.loaded_mask(one.mask, size)
    ring = geometry.outline(one.shapes)
    return media.filled(ring, size) if ring else None


def _rest_mask(known: PictureTruth, labels: list[Label], size: Size) -> Image:
    """The background: all but the objects nobody asked for. Those asked for are laid over it afterwards."""
    mask = media.filled([(-1, -1), (size[0], -1), (size[0], size[1]), (-1, size[1])], size)
    for one in known.objects:
        if not one.rest and not any(one.called(label.name) for label in labels):
            hole = true_mask(one, size)
            if hole is not None:
                mask.paste(0, (0, 0, *size), hole)
    return mask
