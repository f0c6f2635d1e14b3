"""What each corpus begins with: ``seeds.py TARGET FOLDER`` writes it into a folder."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import tarfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import models
import onnx as library
from kiosk_alone import Model
from PIL import Image
from support import bombs

from lgin_edge import images


def seeds(name: str) -> list[bytes]:
    """Inputs that a corpus begins with: what is right, so that the fuzzer finds what is nearly so."""
    text = Model.description.to_json()
    if name == "image":
        picture = Image.effect_noise((24, 16), 60).convert("RGB")
        found = [images.encode(picture, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")]
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "camera"
        for kind, mode, options in (
            ("GIF", "P", {}),
            ("PPM", "RGB", {}),
            ("JPEG2000", "RGB", {}),
            ("AVIF", "RGB", {}),
            ("TIFF", "CMYK", {}),
            ("PNG", "I;16", {}),
            ("PNG", "P", {"transparency": 0}),
            ("JPEG", "CMYK", {}),
            ("JPEG", "L", {"progressive": True}),
            ("JPEG", "RGB", {"exif": exif, "subsampling": 1, "comment": b"hello"}),
            ("WEBP", "RGBA", {"exif": exif, "lossless": True}),
            ("PNG", "LA", {"exif": exif}),
            ("TIFF", "RGB", {"compression": "tiff_lzw", "exif": exif}),
            ("TIFF", "1", {"compression": "group4"}),
        ):
            file = io.BytesIO()
            made = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
            made.save(file, kind, **options)
            found.append(file.getvalue())
        return found + _exif_bombs()
    if name == "description":
        return [
            text.encode(),
            models.describe_age().to_json().encode(),
            models.describe(precision="int8").to_json().encode(),
        ]
    if name == "session":
        return [models.build().SerializeToString(), models.build(face_gain=0.5, patch_gain=0.5).SerializeToString()]
    if name == "model":
        return [models.build().SerializeToString(), models.build_age().SerializeToString(), *_other_models()]
    if name == "engine":
        facts = text.replace(
            '"engine":null', '"engine":{"variant":"tensorrt-rtx","version":"1.2","targets":["sm86"],"max_faces":4}'
        )
        digest = hashlib.sha256(b"vtrt").hexdigest()
        return [f'{{"sha256":"{digest}","description":{one}}}'.encode() for one in (facts, text)]
    if name == "shard":
        return _shards()
    if name == "messages":
        commands = (
            '{"type":"start","consent":true,"years":60}',
            '{"type":"age","years":1e1}',
            '{"type":"forget","token":"a"}',
        )
        return [one.encode() for one in (*commands, '{"type":"still"}', '{"type":"strip"}', '{"type":"clip"}')] + [
            struct.pack(">I", 7) + b"\xff\xd8"
        ]
    if name == "door":
        hosts = (
            b"localhost:8000",
            b"127.0.0.1",
            b"[::1]:8000",
            b"kiosk.example",
            b"evil.example",
            b"[fe80::1%eth0]",
            b"[",
            b"a@localhost",
        )
        return [host + b"\nhttp://" + host for host in hosts] + [hosts[0], b"localhost\nhttp://["]
    if name == "request":
        jpeg = seeds("image")[0]
        return [
            b"POST /v1/age?years=60\ncontent-type: image/jpeg\n\n" + jpeg,
            b"POST /v1/age?group=1.5\n\n" + seeds("image")[1],
            b"GET /healthz\n\n",
            b"GET /metrics\n\n",
            b"GET /page.json\n\n",
            b"GET /\n\n",
            b"GET /static/../app.py\n\n",
            b"GET /stills/abc.jpg?save=true\n\n",
            b"GET /stills/abc.svg\n\n",
            b"HEAD /openapi.json\n\n",
            b"POST /v1/age?years=nan&group=1\ncontent-length: 99999999999\norigin: http://localhost\n\n",
            b"OPTIONS /v1/age\norigin: http://[\n\n",
        ]
    if name == "live":
        start = b'{"type":"start","consent":true,"years":60}'
        frame = b"\x01" + struct.pack(">I", 1) + seeds("image")[0]
        rest = [
            b'{"type":"age","years":20}',
            b'{"type":"still"}',
            b'{"type":"strip"}',
            b'{"type":"clip"}',
            b'{"type":"forget","token":"x"}',
        ]
        return [
            b"\xff\x00".join([start, frame, *rest, b"\x01" + struct.pack(">I", 2) + seeds("image")[2]]),
            start,
            frame,
        ]
    return [bytes(range(256)), bytes([128]) * 400, bytes([200]) * 200 + bytes([3, 40, 7]) * 60]


def _exif_bombs() -> list[bytes]:
    """Of some 22 kB: every kind in a JPEG, and one kind in every place. Pillow alone takes more than the two seconds for the worst of them."""
    kinds = bombs.costly_exif(1000, 10_000)
    places = [bombs.IN_A_FILE[place] for place in bombs.IN_A_FILE if place != "JPEG"]
    return [bombs.as_jpeg(exif) for exif in kinds.values()] + [place(kinds["fractions"]) for place in places]


def _shards() -> list[bytes]:
    """A tar of three samples; cut off within a header, between files and within one; damaged; one with a link."""

    def packed(**types: bytes) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, data in (
                ("a.jpg", b"x"),
                ("a.json", b"{}"),
                ("b.png", b"xxxx"),
                ("c.jpg", b"xx"),
                ("c.cls", b"1"),
            ):
                info = tarfile.TarInfo(name)
                info.type = types.get(name[0], tarfile.REGTYPE)
                info.linkname = "a.jpg" if info.islnk() else ""
                info.size = 0 if info.islnk() else len(data)
                tar.addfile(info, io.BytesIO(data[: info.size]))
        return file.getvalue()

    whole = packed()
    damaged = whole[:1024] + b"?" + whole[1025:]
    return [whole, whole[:1324], whole[:1024], whole[:700], damaged, packed(c=tarfile.LNKTYPE), bytes(1024), b""]


def _other_models() -> list[bytes]:
    """Of kinds that ``models`` does not make: external data, an Int64 list, a subgraph, sparse weights."""
    outside = models.build()
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = library.TensorProto.EXTERNAL
    for key, value in (("location", "targets.py"), ("offset", "0"), ("length", "20")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    typed = models.build()
    typed.graph.initializer[0].CopyFrom(library.helper.make_tensor("shifts", 1, [5, 1], [0.0] * 5))
    nested = models.build()
    nested.graph.node.append(
        library.helper.make_node("If", ["a"], ["b"], then_branch=outside.graph, else_branch=outside.graph)
    )
    return [one.SerializeToString() for one in (outside, typed, nested)]


if __name__ == "__main__":
    for i, seed in enumerate(seeds(sys.argv[1])):
        (Path(sys.argv[2]) / f"seed-{i:02}").write_bytes(seed)
