"""Pictures in time: ``videoannotation`` (a list of frames), ``videoplaybackannotation`` (objects with key frames).

Both give events behind a URL (decisions.EVENTS_FILE).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.answers import attributes, picture
from scale_mcp.sandbox.answers.ontology import attribute_definitions, leaves, number_of
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Truth, VideoTruth
from scale_mcp.sandbox.workforce import Worker

MOST_FRAMES = 3_600  # fabricated from a stated duration
BESIDES_GEOMETRY = ("uuid", "type", "label")


def annotation_rate(params: Mapping[str, Any]) -> float:
    """Frames per second to annotate, above zero; 1 when the task does not say."""
    return number_of(params.get("annotation_frame_rate"), 0) or number_of(params.get("frame_rate"), 0) or 1.0


def video_rate(params: Mapping[str, Any], known: float | None = None) -> float:
    return number_of(params.get("video_frame_rate"), 0) or known or annotation_rate(params)


# ------------------------------------------------------------------------------------------------------------ made up


def fabricate(paper: Paper) -> Answer:
    """The same made-up annotations in every frame, under the same ids."""
    annotations = picture.fabricated_annotations(paper)
    frames = [{"annotations": annotations} for _ in range(_fabricated_length(paper.params))]
    response = {"annotations": {"url": paper.publish_json(frames)}}
    if "events_to_annotate" in paper.params:
        response["events"] = {"url": paper.publish_json(_fabricated_events(paper))}
    return Answer(response)


def fabricate_playback(paper: Paper) -> Answer:
    rate = video_rate(paper.params)
    step = max(1, round(rate / annotation_rate(paper.params)))
    tracks = {
        annotation["uuid"]: {
            "label": annotation.get("label"),
            "geometry": annotation["type"],
            "frames": [
                {"key": number * step, "timestamp": round(number * step / rate, 4), **_geometry_of(annotation)}
                for number in range(_fabricated_length(paper.params))
            ],
        }
        for annotation in picture.fabricated_annotations(paper)
    }
    return _playback_answer(paper, tracks, _fabricated_events(paper))


def _fabricated_length(params: Mapping[str, Any]) -> int:
    attachments = params.get("attachments")
    if isinstance(attachments, list) and attachments:
        return len(attachments)
    stated = round(number_of(params.get("duration_time"), 0) * annotation_rate(params))
    return min(stated, MOST_FRAMES) or decisions.TEST_VIDEO_FRAMES.value


def _fabricated_events(paper: Paper) -> list[dict[str, Any]]:
    definitions = attribute_definitions(paper.params, of_scene=True)
    rate = video_rate(paper.params)
    return [
        {
            "label": label.name,
            "type": "range",
            "start": 0,
            "startTime": 0,
            "end": 1,
            "endTime": round(1 / rate, 4),
            "attributes": attributes.fabricated(definitions, label.name),
        }
        for label in leaves(paper.params.get("events_to_annotate"))
    ]


def _geometry_of(annotation: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in annotation.items() if key not in BESIDES_GEOMETRY}
    return {**kept, "attributes": annotation.get("attributes", {})}


def _playback_answer(paper: Paper, tracks: Mapping[str, Any], events: list[dict[str, Any]]) -> Answer:
    """The documented file: a list of one object, keyed by annotation; events in a file of their own, perhaps empty."""
    return Answer(
        {
            "annotations": {"url": paper.publish_json([{"annotations": tracks}])},
            "events": {"url": paper.publish_json(events)},
        }
    )


# -------------------------------------------------------------------------------------------------------- from truth


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.video if truth else None
    chosen = chosen_frames(paper.params, known)
    frames = _drawn_frames(paper, known, chosen, worker, report)
    # Frames of which nothing is known stay empty but keep their place: element n is the n-th frame asked for.
    content = [{"annotations": annotations} for annotations in frames]
    if known is None:
        attachments = paper.params.get("attachments")
        content = [{"annotations": []} for _ in attachments] if isinstance(attachments, list) else []
    response = {"annotations": {"url": paper.publish_json(content)}}
    if "events_to_annotate" in paper.params:
        response["events"] = {"url": paper.publish_json(_events(paper, known, worker, report))}
    return Answer(response)


def label_playback(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.video if truth else None
    chosen = chosen_frames(paper.params, known)
    frames = _drawn_frames(paper, known, chosen, worker, report)
    rate = video_rate(paper.params, known.rate if known else None)
    tracks: dict[str, Any] = {}
    for position, drawn in zip(chosen, frames, strict=True):
        number = known.numbers[position] if known else position
        for annotation in drawn:
            track = tracks.setdefault(
                annotation["uuid"],
                {"label": annotation.get("label"), "geometry": annotation["type"], "frames": []},
            )
            key = {"key": number, "timestamp": round(number / rate, 4)}
            track["frames"].append(key | _geometry_of(annotation))
    return _playback_answer(paper, tracks, _events(paper, known, worker, report))


def chosen_frames(params: Mapping[str, Any], known: VideoTruth | None) -> list[int]:
    """Positions of the truth's frames that the task wants annotated.

    Frames sent one by one are all wanted. Of a video, those nearest to the instants start, start + 1/rate, … are.
    """
    if known is None:
        return []
    if known.sampled:
        return list(range(len(known.frames)))
    rate = annotation_rate(params)
    start = number_of(params.get("start_time"), 0.0)
    length = len(known.frames) / known.rate
    end = min(start + number_of(params.get("duration_time"), length), length)
    chosen: list[int] = []
    for step in range(int((end - start) * rate + 1e-6) + 1 if end > start else 0):
        instant = start + step / rate
        position = round(instant * known.rate)
        if instant < end - 1e-9 and position < len(known.frames) and position not in chosen:
            chosen.append(position)
    return chosen


def _drawn_frames(
    paper: Paper, known: VideoTruth | None, chosen: Iterable[int], worker: Worker, report: Report
) -> list[list[dict[str, Any]]]:
    if known is None:
        return []
    report.use_truth()
    positions = list(chosen)
    picture.note_unknown_labels(paper, [one for p in positions for one in known.frames[p] or ()], report)
    blank = [position for position in positions if known.frames[position] is None]
    if blank:
        report.note("frames_without_truth", blank)
    tracks = picture.Tracks()
    renamed: dict[str, str] = {}
    frames = []
    for position in positions:
        annotations = picture.drawn(
            paper, known.frames[position] or (), known.size or paper.size, worker, report, tracks
        )
        kept = []
        for annotation in annotations:
            if paper.rng.random() < worker.noise.frame_dropped:
                report.mistake("frame_dropped", annotation=annotation["uuid"], frame=position)
                continue
            kept.append(_same_track(paper, annotation, position, renamed, worker, report))
        frames.append(kept)
    return frames


def _same_track(
    paper: Paper, annotation: dict[str, Any], frame: int, renamed: dict[str, str], worker: Worker, report: Report
) -> dict[str, Any]:
    """The annotation under its track's id; now and then a worker loses the thread and starts a new track."""
    uuid = annotation["uuid"]
    if uuid not in renamed:
        renamed[uuid] = uuid
    elif renamed[uuid] == uuid and paper.rng.random() < worker.noise.track_broken:
        renamed[uuid] = paper.new_id()
        report.mistake("track_broken", annotation=uuid, answer=renamed[uuid], frame=frame)
    return {**annotation, "uuid": renamed[uuid]}


def _events(paper: Paper, known: VideoTruth | None, worker: Worker, report: Report) -> list[dict[str, Any]]:
    """The events asked for, in frames of the source video and in seconds."""
    wanted = {label.name.casefold(): label.name for label in leaves(paper.params.get("events_to_annotate"))}
    if known is None or not wanted:
        return []
    unknown = set(wanted) - {str(event["label"]).casefold() for event in known.events}
    if unknown:
        report.note("events_without_truth", sorted(wanted[name] for name in unknown))
    rate = video_rate(paper.params, known.rate)
    definitions = attribute_definitions(paper.params, of_scene=True)
    found = []
    for event in known.events:
        name = wanted.get(str(event["label"]).casefold())
        if name is None:
            continue
        if paper.rng.random() < worker.noise.missed:
            report.mistake("missed", event=name)
            continue
        made: dict[str, Any] = {"label": name, "type": "range" if "end" in event else "point"}
        for side in ("start", "end"):
            if side in event:
                made |= {side: event[side], f"{side}Time": round(event[side] / rate, 4)}
        true_attributes = event.get("attributes") or {}
        made["attributes"] = attributes.answered(
            definitions, name, true_attributes, worker.noise, paper.rng, report, f"event {name}"
        )
        found.append(made)
    return found
