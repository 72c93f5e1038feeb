"""The demo's story: one labelling life cycle, told in stages, in which every tool has its part."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scale_mcp.cli.showcase import material
from scale_mcp.cli.showcase.notes import all_done, assigned, fetched, in_order, scores, short
from scale_mcp.cli.showcase.reading import agreement, all_answered, annotations_of, outlines, uuids
from scale_mcp.cli.showcase.screen import Picture
from scale_mcp.cli.showcase.session import CallFailed, Json, Session

if TYPE_CHECKING:
    from pathlib import Path

    from scale_mcp.api import ScaleApi
    from scale_mcp.cli.showcase.receiver import Receiver
    from scale_mcp.sandbox.data import Picture as Item

PATIENCE = 60.0  # seconds for the workforce; it needs two or three
MEASURED, SHOWN = "coins", "coffee"  # items: the one compared with its truth, the one shown
MASK = "mask.png"
ADA = "ada.lovelace@example.com"
RAPID = {  # project → task type; one batch each
    "scenes": "imageannotation",
    "regions": "segmentannotation",
    "names": "namedentityrecognition",
    "receipts": "documenttranscription",
}
OTHERS = {"drives": "lidarsegmentation"}  # a project without batches
CREATE = {
    "imageannotation": "create_image_annotation_task",
    "segmentannotation": "create_segmentation_task",
    "namedentityrecognition": "create_named_entity_recognition_task",
    "documenttranscription": "create_document_transcription_task",
    "textcollection": "create_text_collection_task",
    "videoannotation": "create_video_annotation_task",
    "videoplaybackannotation": "create_video_playback_annotation_task",
    "lidarannotation": "create_lidar_annotation_task",
    "lidarsegmentation": "create_lidar_segmentation_task",
}
IN_FILES = ("segmentannotation", "videoannotation", "videoplaybackannotation", "lidarannotation", "lidarsegmentation")
# Tasks of a type, where the data set has material for more than one.
MOST = {"imageannotation": 4, "segmentannotation": 3, "textcollection": 3}


class Demonstration:
    """One run. ``sandbox`` is the customer's own access to the API, for what has no tool; ``downloads`` a folder."""

    def __init__(self, session: Session, receiver: Receiver, sandbox: ScaleApi, downloads: Path) -> None:
        self._session, self._receiver, self._sandbox, self._downloads = session, receiver, sandbox, downloads
        self._call, self._each, self._begin = session.call, session.each, session.begin
        self._pause = partial(receiver.news, 0.1)
        self._items = {kind: material.fit_for(kind, MOST.get(kind, 1)) for kind in CREATE}
        self._urls: dict[Path, str] = {}  # file → scaledata:// URL
        self._tasks: dict[str, list[Json]] = {}  # by type, as created and later as read

    async def run(self) -> None:
        """All stages.

        Raises:
            CallFailed: at the first call that did not go as it should.
        """
        await self.set_up()
        await self.bring_material()
        await self.create_work()
        await self.change_a_mind()
        await self.let_people_work()
        await self.read_the_labels()
        await self.check_quality()
        await self.run_a_studio()

    async def set_up(self) -> None:
        self._begin("Set up", "a project says what is labelled, and how")
        made = [{"name": name, "type": kind, "rapid": True} for name, kind in RAPID.items()]
        made += [{"name": name, "type": kind} for name, kind in OTHERS.items()]
        await self._each("create_project", ", ".join([*RAPID, *OTHERS]), made)
        labels = sorted({label for item in self._items["imageannotation"] for label in material.labels_of(item)})
        await self._call(
            "set_project_ontology", f"{len(labels)} labels: {', '.join(labels)}", name="scenes", ontology=labels
        )
        instruction = "Draw every object as tightly as you can. Leave out what you are not sure of."
        await self._call(
            "set_project_params", "an instruction for everybody", name="scenes", patch=True, instruction=instruction
        )
        await self._call(
            "get_project", lambda got: f"{len(got['param_history'])} versions of its parameters", name="scenes"
        )
        await self._call("list_projects", lambda got: f"{len(got['docs'])} projects")

    async def bring_material(self) -> None:
        self._begin("Bring the material", "pictures, texts, video and lidar go to Scale's storage")
        items = [item for kind, found in self._items.items() if kind != "namedentityrecognition" for item in found]
        paths = material.files(items)
        calls = [{"path": path.name, "project_name": "scenes"} for path in paths]
        size = sum(path.stat().st_size for path in paths)
        uploaded = await self._each("upload_file", f"{len(paths)} files, {size / 1000:,.0f} kB", calls)
        self._urls = {path: got["attachment_url"] for path, got in zip(paths, uploaded, strict=True)}
        url = f"http://sandbox.localhost/_sandbox/data/{paths[0].name}"
        await self._call(
            "import_file", f"{paths[0].name}, fetched by Scale itself", file_url=url, project_name="scenes"
        )
        await self._call("list_assets", lambda got: f"{len(got['docs'])} files of the project", project="scenes")

    async def create_work(self) -> None:
        self._begin("Create the work", "a task per item; Rapid projects gather them in batches")
        calls = [{"project": name, "name": batch(name), "callback": self._receiver.url} for name in RAPID]
        await self._each("create_batch", ", ".join(call["name"] for call in calls), calls)
        places = {kind: {"batch": batch(name)} for name, kind in RAPID.items()}
        places |= {kind: {"project": name} for name, kind in OTHERS.items()}
        for kind, tool in CREATE.items():
            wanted = [{**self.task(kind, item), **places.get(kind, {})} for item in self._items[kind]]
            titles = ", ".join(item.name for item in self._items[kind])
            self._tasks[kind] = await self._each(tool, titles, wanted)
        await self._call("list_tasks", lambda got: f"{got['total']} with the tag demo", tags=["demo"])

    def task(self, kind: str, item: Item) -> Json:
        """The arguments of a task of this type about this item."""
        asked: Json = {**material.parameters(item, kind), "callback_url": self._receiver.url, "tags": ["demo"]}
        asked["unique_id"] = f"demo/{kind}/{item.name}"
        urls = [self._urls.get(path, "") for path in item.paths]
        if kind == "namedentityrecognition":
            return {**asked, "text": item.text()}
        if kind == "textcollection":
            return {**asked, "attachments": [collected(item, urls[0])]}
        if kind == "videoannotation":
            return {**asked, "attachment_type": "image", "attachments": urls[:-1]}
        if kind == "videoplaybackannotation":
            return {**asked, "attachment": urls[-1]}
        if kind.startswith("lidar"):
            return {**asked, "attachments": urls}
        return {**asked, "attachment": urls[0]}

    async def change_a_mind(self) -> None:
        self._begin("Change your mind", "a task can be changed until somebody works on it")
        spare = self.task("imageannotation", self._items["imageannotation"][0])
        spare |= {"batch": batch("scenes"), "unique_id": "demo/spare"}
        task = await self._call("create_image_annotation_task", "one too many", **spare)
        one = {"task_id": task["task_id"]}
        shown = lambda got: f"tags: {', '.join(got.get('tags') or []) or 'none'}"  # noqa: E731
        await self._call("add_task_tags", shown, **one, tags=["night"])
        await self._call("set_task_tags", shown, **one, tags=["draft", "night"])
        await self._call("delete_task_tags", shown, **one, tags=["night"])
        await self._call("set_task_metadata", "scene: 7", **one, metadata={"scene": 7})
        await self._call("update_task_unique_id", lambda got: got["unique_id"], **one, unique_id="demo/never")
        await self._call("delete_task_unique_id", "the id is free again", **one)
        await self._call("cancel_task", lambda got: got["status"], **one)

    async def let_people_work(self) -> None:
        self._begin("Let people work", "finalizing starts the workforce (simulated, sped up)")
        await self._call("get_batch", lambda got: got["status"], batch_name=batch("scenes"))
        await self._each("finalize_batch", "closed, work begins", [{"batch_name": batch(name)} for name in RAPID])
        await self._call("prioritize_batch", "before the others", batch_name=batch("names"), priority=30)
        await self._session.poll(
            "get_batch_status",
            all_done,
            [{"batch_name": batch(name)} for name in RAPID],
            until=lambda got: got["status"] == "completed",
            pause=self._waiting,
            seconds=PATIENCE,
        )
        expected = {task["task_id"] for tasks in self._tasks.values() for task in tasks}
        batches = {batch(name) for name in RAPID}
        self._session.screen.working("callbacks", 0, 1)
        heard = await self._receiver.wait(
            lambda: expected <= self._receiver.tasks() and batches <= self._receiver.batches(), PATIENCE
        )
        if not heard or self._receiver.refused:
            raise CallFailed(f"{len(expected - self._receiver.tasks())} callbacks did not come")
        self._session.screen.remark(
            f"{len(expected)} task and {len(batches)} batch callbacks came over HTTP, each with the right secret"
        )
        await self._call("list_batches", lambda got: f"{len(got['docs'])} completed", status="completed")
        first = self._tasks["textcollection"][0]
        await self._call("resend_task_callback", "once more", task_id=first["task_id"])

    async def _waiting(self) -> None:
        total = sum(len(tasks) for tasks in self._tasks.values())
        self._session.screen.working("the workforce is at it", len(self._receiver.tasks()), total)
        await self._pause()

    async def read_the_labels(self) -> None:
        self._begin("Read the labels", "short answers come inline, masks and point clouds as files")
        for kind in CREATE:
            if kind not in IN_FILES:
                await self._read(kind)
        await self._read(*IN_FILES)
        for kind in IN_FILES:
            task = self._tasks[kind][0]
            await self._call("get_task_response", fetched, task_id=task["task_id"], uuid=uuids(task["response"])[0])
        mask = self._about(SHOWN, "segmentannotation")
        combined = uuids(mask["response"]["annotations"]["combined"]["image"])[0]
        await self._call(
            "get_task_response", "all classes in one picture", task_id=mask["task_id"], uuid=combined, save_as=MASK
        )
        boxes = annotations_of(self._about(MEASURED, "imageannotation")["response"])
        found, wanted, overlap = agreement(boxes, material.true_boxes(material.item(MEASURED)))
        self._session.screen.remark(
            f"{MEASURED}, against the truth checked by hand: {found} of {wanted} found, mean overlap {overlap:.2f}"
        )
        shown = material.item(SHOWN)
        outlined = outlines(annotations_of(self._about(SHOWN, "imageannotation")["response"]))
        pictures = [Picture(shown.content(), outlined), Picture((self._downloads / MASK).read_bytes())]
        self._session.screen.pictures(pictures, f"{shown.title}, outlined and painted")

    async def _read(self, *kinds: str) -> None:
        """Get the tasks of some types again, now with their responses."""
        known = [(kind, task["task_id"]) for kind in kinds for task in self._tasks[kind]]
        read = await self._each("get_task", all_answered, [{"task_id": task_id} for _, task_id in known])
        for kind in kinds:
            self._tasks[kind] = [task for task, (its, _) in zip(read, known, strict=True) if its == kind]

    def _about(self, name: str, kind: str) -> Json:
        """The task of this type about the item of this name."""
        names = [item.name for item in self._items[kind]]
        return self._tasks[kind][names.index(name)]

    async def check_quality(self) -> None:
        self._begin("Check the quality", "audits of what was done, and a task whose answer is known")
        item, task = material.item(MEASURED), self._about(MEASURED, "imageannotation")
        # What a reviewer does in the dashboard: not an agent's business, so there is no tool for it.
        await self._sandbox.quality.create_fixless_audit(
            {
                "task_id": task["task_id"],
                "result": "commented",
                "response_url": task["response"].get("url") or f"{self._sandbox.base_url}/task/{task['task_id']}",
                "feedback_items": [{"type": "confirmation", "comment": "Tight boxes."}],
            }
        )
        await self._call(
            "get_fixless_audits",
            lambda got: f"{len(got['docs'])} audit: {got['docs'][0]['result']}",
            task_id=task["task_id"],
        )
        expected = {"annotations": [{**box, "type": "box", "label": "coin"} for box in material.true_boxes(item)]}
        quality = await self._call(
            "create_evaluation_task",
            f"{item.name}, with its {len(expected['annotations'])} true boxes",
            type="imageannotation",
            project="scenes",
            attachment=self._urls[item.path],
            expected_response=expected,
            **material.parameters(item, "imageannotation"),
        )
        await self._session.poll(
            "get_training_attempts",
            scores,
            [{"quality_task_ids": [quality["id"]]}],
            until=lambda got: bool(got["docs"]),
            pause=self._pause,
            seconds=PATIENCE,
        )

    async def run_a_studio(self) -> None:
        self._begin("Run a Studio", "your own labelers, what they may work on, and in which order")
        await self._call("invite_team_member", f"{short(ADA)} gets an e-mail", emails=[ADA], team_role="labeler")
        team = await self._call("list_teammates", lambda got: f"{got['total']} people")
        one, other = [mate["email"] for mate in team["docs"] if mate["role"] == "labeler"][:2]
        await self._call("set_teammate_role", f"{short(other)} is a manager now", emails=[other], team_role="manager")
        await self._call(
            "create_project", "letters, labelled by them", name="letters", type="textcollection", studio=True
        )
        names = ["letters-1", "letters-2"]
        await self._each("create_batch", ", ".join(names), [{"project": "letters", "name": name} for name in names])
        await self._each("finalize_batch", "both wait for them", [{"batch_name": name} for name in names])
        people = {"emails": [one, other], "projects": ["letters"]}
        await self._call("add_studio_assignments", f"{short(one)} and {short(other)} → letters", **people)
        await self._call("get_studio_assignments", assigned)
        await self._call("get_studio_batches", in_order)
        await self._call("set_studio_batch_priorities", in_order, batch_names=names[::-1])
        await self._call("reset_studio_batch_priorities", in_order)
        await self._call("remove_studio_assignments", "the letters are done", **people)


def batch(project: str) -> str:
    return f"{project}-1"


def collected(item: Item, url: str) -> Json:
    """An attachment of a text collection: texts go inline, everything else by URL."""
    if item.kind == "text":
        return {"type": "text", "content": item.text()}
    return {"type": item.mime.split("/")[0], "content": url}
