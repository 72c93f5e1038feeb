"""Makes the items of the sandbox's data set that are exact by construction: the receipt, the panned coins, the street.

Run from the repository's root: ``python scripts/make_sandbox_data.py``. The photographs and the truth drawn over them
by hand are not made here; the panned coins are cut out of the shipped photograph and take their boxes from its truth.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from scale_mcp.sandbox import data, geometry, street

ROOT = data.PICTURES.parent
PICTURES, TRUTH = data.PICTURES, ROOT / "truth"


def write(path: Path, value: Any) -> None:
    """JSON with one line per object of a list, so that changes can be read."""
    path.write_text(_laid_out(value, 0) + "\n", encoding="utf-8", newline="\n")


def _laid_out(value: Any, depth: int) -> str:
    pad = " " * (depth + 2)
    if isinstance(value, dict) and value and depth < 4:
        lines = [f"{pad}{json.dumps(key)}: {_laid_out(inner, depth + 2)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list) and "{" in json.dumps(value):
        lines = [pad + (_laid_out(one, depth + 2) if isinstance(one, list) else _plain(one)) for one in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * depth + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------------- receipt

PAGE = (420, 560)


def receipt() -> None:
    page = Image.new("L", PAGE, 250)
    pen = ImageDraw.Draw(page)
    blocks: list[dict[str, Any]] = []

    def put(
        key: str, label: str, text: str, y: int, *, x: int = 40, right: int | None = None, size: int = 20, **more: Any
    ) -> None:
        font = ImageFont.load_default(size)
        if right is not None:
            x = right - round(pen.textlength(text, font))
        pen.text((x, y), text, fill=20, font=font)
        left, top, edge, bottom = pen.textbbox((x, y), text, font)
        box = [round(left, 1), round(top, 1), round(edge - left, 1), round(bottom - top, 1)]
        blocks.append({"key": key, "label": label, "text": text, "box": box, **more})

    def money(amount: float) -> dict[str, Any]:
        return {"amount": amount, "currency": "EUR"}

    put("shop", "shop", "HARBOUR CAFE", 36, size=34)
    put("address", "address", "12 Quay Street, Port Example", 84)
    put("date", "date", "2026-03-14", 122, date={"year": 2026, "month": 3, "day": 14})
    put("time", "time", "09:42", 122, right=380)
    pen.line([(40, 160), (380, 160)], fill=60)
    items = [("2 x Espresso", 5.00), ("1 x Croissant", 2.80), ("1 x Orange juice", 3.40)]
    for number, (name, price) in enumerate(items, start=1):
        y = 142 + 34 * number
        put(f"item-{number}", "item", name, y)
        put(f"price-{number}", "price", f"{price:.2f}", y, right=380, refs=[f"item-{number}"], money=money(price))
    pen.line([(40, 288), (380, 288)], fill=60)
    sums = (("subtotal", "Subtotal", 11.20), ("tax", "VAT 10 %", 1.12))
    for number, (label, name, amount) in enumerate(sums):
        y = 304 + 34 * number
        pen.text((40, y), name, fill=20, font=ImageFont.load_default(20))
        put(label, label, f"{amount:.2f}", y, right=380, money=money(amount))
    pen.text((40, 382), "TOTAL", fill=10, font=ImageFont.load_default(30))
    put("total", "total", "EUR 12.32", 382, right=380, size=30, money=money(12.32))
    pen.line([(40, 432), (380, 432)], fill=60)
    put("payment", "payment", "Paid by card", 450, checked=True)
    put("thanks", "message", "Thank you, come again!", 492)
    page.save(PICTURES / "receipt.png", optimize=True)
    labels = ["shop", "address", "date", "item", "price", "subtotal", "tax", "total", "payment"]
    flags = {"date": ["date"], "price": ["money"], "subtotal": ["money"], "tax": ["money"], "total": ["money"]}
    features = [
        {"type": "block", "label": label, **({"content_flags": flags[label]} if label in flags else {})}
        for label in labels
    ]
    fields = [
        {"field_id": "shop", "type": "text", "title": "Name of the shop", "required": True},
        {"field_id": "total", "type": "number", "title": "Total", "required": True},
        {
            "field_id": "currency",
            "type": "category",
            "title": "Currency",
            "choices": [{"label": "Euro", "value": "EUR"}, {"label": "US dollar", "value": "USD"}],
        },
        {
            "field_id": "bought",
            "type": "field_set",
            "title": "What was bought",
            "max_responses_required": 10,
            "fields": [
                {"field_id": "name", "type": "text", "title": "Name"},
                {"field_id": "price", "type": "number", "title": "Price"},
            ],
        },
    ]
    bought = [{"name": name.split(" x ")[1], "price": f"{price:.2f}"} for name, price in items]
    answers = {"shop": "HARBOUR CAFE", "total": "12.32", "currency": "EUR", "bought": bought, "paid_by": "card"}
    stored = {
        "title": "A receipt from a café",
        "kind": "document",
        "files": ["receipt.png"],
        "size": list(PAGE),
        "licence": "CC0-1.0, drawn for this project",
        "tasks": {"documenttranscription": {"features": features}, "textcollection": {"fields": fields}},
        "answers": {**answers, "category": "receipt"},
        "blocks": blocks,
    }
    write(TRUTH / "receipt.json", stored)


# ------------------------------------------------------------------------------------------------------------- the pan

VIEW = (192, 144)
RATE = 4
STOPS = [(4 + 16 * step, 12) for step in range(7)] + [(100, 12 + 20 * step) for step in range(1, 6)]
STILLS = (0, 3, 6, 9)
LEAST_VISIBLE = 0.3


def pan() -> None:
    photo = Image.open(PICTURES / "coins.jpg").convert("RGB")
    coins = [one for one in json.loads((TRUTH / "coins.json").read_text("utf-8"))["objects"] if one["label"] == "coin"]
    frames, packets = [], []
    for number, (x, y) in enumerate(STOPS):
        view = photo.crop((x, y, x + VIEW[0], y + VIEW[1]))
        if number in STILLS:
            view.save(PICTURES / f"pan-{number:02}.jpg", quality=85, optimize=True)
        buffer = io.BytesIO()
        view.save(buffer, "WEBP", quality=72, method=6)
        packets.append(_vp8(buffer.getvalue()))
        frames.append([seen for coin in coins if (seen := _seen(coin, x, y))])
    (PICTURES / "pan.webm").write_bytes(webm(packets, VIEW, RATE))
    geometries = {"box": {"objects_to_annotate": ["coin"]}}
    whole = {"type": "category", "description": "Is all of it in the picture?", "choices": ["yes", "no"]}
    asked = {"geometries": geometries, "annotation_attributes": {"whole": whole}}
    events = ["pan right", "pan down"]
    stored = {
        "title": "A camera panning over the coins",
        "kind": "video",
        "files": [*(f"pan-{number:02}.jpg" for number in STILLS), "pan.webm"],
        "size": list(VIEW),
        "licence": "no known copyright restrictions",
        "tasks": {
            "videoannotation": {**asked, "frame_rate": RATE},
            "videoplaybackannotation": {**asked, "frame_rate": 2, "events_to_annotate": events},
        },
        "rate": RATE,
        "numbers_of_files": list(STILLS),
        "events": [{"label": events[0], "start": 0, "end": 6}, {"label": events[1], "start": 6, "end": 11}],
        "frames": frames,
    }
    write(TRUTH / "pan.json", stored)


def _seen(coin: dict[str, Any], x: int, y: int) -> dict[str, Any] | None:
    """The part of a coin's box that the view shows, when that is enough of it to be recognised."""
    left, top, width, height = coin["box"]
    shown = (max(left - x, 0), max(top - y, 0), min(left + width - x, VIEW[0]), min(top + height - y, VIEW[1]))
    if shown[0] >= shown[2] or shown[1] >= shown[3]:
        return None
    share = (shown[2] - shown[0]) * (shown[3] - shown[1]) / (width * height)
    if share < LEAST_VISIBLE:
        return None
    box = geometry.box_of(shown)
    whole = "yes" if share > 0.999 else "no"
    sides = [round(box[side], 1) for side in ("left", "top", "width", "height")]
    return {"key": coin["key"], "label": "coin", "attributes": {"whole": whole}, "box": sides}


def _vp8(webp: bytes) -> bytes:
    """The key frame inside a lossy WebP file, which is what a WebM video is made of as well."""
    place = webp.index(b"VP8 ") + 4
    (length,) = struct.unpack_from("<I", webp, place)
    return webp[place + 4 : place + 4 + length]


def webm(packets: list[bytes], size: tuple[int, int], rate: int) -> bytes:
    """A WebM file of VP8 key frames: the few EBML elements that a player needs."""

    def element(name: int, content: bytes) -> bytes:
        code = name.to_bytes((name.bit_length() + 7) // 8, "big")
        return code + (0x0100000000000000 | len(content)).to_bytes(8, "big") + content

    def number(name: int, value: int) -> bytes:
        return element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))

    step = 1000 // rate
    head = number(0x4286, 1) + number(0x42F7, 1) + number(0x42F2, 4) + number(0x42F3, 8)
    head += element(0x4282, b"webm") + number(0x4287, 2) + number(0x4285, 2)
    info = number(0x2AD7B1, 1_000_000) + element(0x4489, struct.pack(">d", len(packets) * step))
    info += element(0x4D80, b"scale-mcp") + element(0x5741, b"scale-mcp")
    video = number(0xB0, size[0]) + number(0xBA, size[1])
    track = number(0xD7, 1) + number(0x73C5, 1) + number(0x83, 1) + element(0x86, b"V_VP8")
    track += number(0x23E383, step * 1_000_000) + element(0xE0, video)
    blocks = b"".join(
        element(0xA3, b"\x81" + struct.pack(">hB", position * step, 0x80) + packet)
        for position, packet in enumerate(packets)
    )
    cluster = element(0x1F43B675, number(0xE7, 0) + blocks)
    segment = element(0x1549A966, info) + element(0x1654AE6B, element(0xAE, track)) + cluster
    return element(0x1A45DFA3, head) + element(0x18538067, segment)


# -------------------------------------------------------------------------------------------------------------- street


def lidar() -> None:
    scene = street.street_scene()
    files = [f"street-{number}.json" for number in range(len(scene))]
    for name, (frame, _) in zip(files, scene, strict=True):
        (PICTURES / name).write_text(json.dumps(frame, separators=(",", ":")), encoding="utf-8")
    frames = [
        [
            {
                "key": one.key,
                "label": one.label,
                "aliases": list(one.aliases),
                "attributes": dict(one.attributes),
                "cuboid3d": one.shapes["cuboid3d"],
            }
            for one in truth.objects
        ]
        for _, truth in scene
    ]
    labels = ["car", "truck", "pedestrian", "cyclist"]
    moving = {"moving": {"type": "category", "description": "Does it move?", "choices": ["yes", "no"]}}
    stored = {
        "title": "A street seen by a driving lidar, made up",
        "kind": "lidar",
        "files": files,
        "licence": "CC0-1.0, generated for this project",
        "tasks": {
            "lidarannotation": {"attachment_type": "json", "labels": labels, "annotation_attributes": moving},
            "lidarsegmentation": {
                "attachment_type": "json",
                "labels": [{"choice": "car", "instance_label": True}, *labels[1:]],
            },
        },
        "frames": frames,
    }
    write(TRUTH / "street.json", stored)


if __name__ == "__main__":
    receipt()
    pan()
    lidar()
