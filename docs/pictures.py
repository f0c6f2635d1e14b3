"""The pictures of how-it-works.md, the README and the kiosk's start screen, by the bundled model from scikit-image's astronaut: ``python docs/pictures.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from lgin_edge import Transformer, contact_sheet, geometry
from lgin_edge.animation import Animation, times_ms
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.inference.interfaces import Backend
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import Edits, FacePlan, region_crop, region_paste, resample
from lgin_edge.transformer import WEIGHTS

Floats = npt.NDArray[np.float32]

FOLDER = Path(__file__).parent / "pictures"
#: Of the kiosk's start screen, and what it shows of the astronaut: pixels (x, y) of the left top and the right bottom.
ATTRACT, ATTRACT_BOX, ATTRACT_SIZE = (
    Path(__file__).parents[1] / "lgin_edge/kiosk/static/ages.webp",
    (75, 0, 375, 350),
    (420, 490),
)
YEARS = 70
PROVIDERS = ("CPUExecutionProvider",)
CELL = 200
#: Channel of a face's edit that says where skin is.
SKIN = 5
#: Changes are shown around mid-grey, this many times as strong.
GAIN = 3.0
WEBP = {"format": "WEBP", "quality": 82, "method": 6}
#: The README's moving picture: its side in pixels, frames per second, and for how many seconds the youngest and the oldest stay.
MOVING, MOVING_SIDE, FPS, STAY_S = "ageing.webp", 320, 100 / 9, 0.9
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7")  # Okabe and Ito's, told apart by nearly all eyes
NAMES = ("forehead", "eyes", "nose", "mouth", "cheeks, chin")

#: The astronaut's eyes, nose and corners of the mouth as CenterFace finds them, pixels. Written down, because another processor finds
#: them a fraction of a pixel away, which a change of the model would hide behind.
LANDMARKS = ((204.17, 102.20), (246.81, 104.75), (223.67, 125.87), (203.07, 142.05), (243.03, 144.30))


class Subject:
    """The astronaut's face as the model gets it."""

    def __init__(self) -> None:
        self.frame: npt.NDArray[np.uint8] = data.astronaut()
        face = Face(np.array(LANDMARKS))
        with Transformer() as transformer:
            self.about = transformer.description
        self.landmarks, self.affine, self.boxes = face.landmarks, face.affine, face.boxes
        self.code = self.about.age_code(years=YEARS)
        self.plan = FacePlan.of(self.frame, FaceBatch.of([face]), self.about.views)
        self.face, self.patches = region_crop(self.plan, self.frame)

    def edits(self, model: Backend) -> Edits:
        """All edits at ``YEARS``."""
        return Edits(*model.run(self.face, self.patches, self.boxes[None].astype(np.float32), self.code[None]))

    def canonical(self, frame: npt.NDArray[np.uint8], side: int) -> Image.Image:
        """The face's square of a frame, turned upright."""
        return picture(resample(frame, self.affine, side, side))

    def paste(self, edits: Edits) -> npt.NDArray[np.uint8]:
        return region_paste(self.plan, self.frame, edits)

    def changes(self, edits: Edits) -> list[Floats]:
        """What residual and gain change on each view, in units of [-1, 1]: [3, S, S] and five of [3, P, P]."""
        pairs = [(self.face[0], edits.face_edit[0]), *zip(self.patches[0], edits.patch_edit[0], strict=True)]
        return [edit[3:4] * (view + 1) + edit[:3] for view, edit in pairs]


def picture(planar: Floats, side: int | None = None) -> Image.Image:
    """Planar RGB in [-1, 1], [3, H, W], as an image."""
    levels = np.rint((np.clip(planar, -1, 1) + 1) * 127.5).astype(np.uint8)
    image = Image.fromarray(levels.transpose(1, 2, 0))
    return image if side is None else image.resize((side, side), Image.Resampling.LANCZOS)


def without_interaction() -> Backend:
    """The bundled model, its interactive structure writing and reading nothing."""
    model = onnx.load(WEIGHTS)
    found = [tensor for tensor in model.graph.initializer if tensor.name.startswith("net.interaction.")]
    assert len(found) == 4, "weights and biases of its two convolutions"
    for tensor in found:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "without.onnx"
        onnx.save(model, path)
        return open_model(path, providers=PROVIDERS, threads=2)


def global_alone(edits: Edits) -> Edits:
    """Without the patches' edits and the lines, which are the local generators'."""
    assert edits.lines is not None
    return replace(edits, patch_edit=np.zeros_like(edits.patch_edit), lines=np.zeros_like(edits.lines))


def local_alone(edits: Edits) -> Edits:
    """Patches and lines alone; where skin is, which bounds the lines, is the global generator's."""
    assert edits.flow is not None
    face_edit = np.zeros_like(edits.face_edit)
    face_edit[:, SKIN] = edits.face_edit[:, SKIN]
    return replace(edits, face_edit=face_edit, flow=np.zeros_like(edits.flow))


def regions(subject: Subject, side: int = 560) -> Image.Image:
    """The astronaut with the face's square, the five landmarks and the five boxes, each with its name."""
    scale = 2
    height, width = subject.frame.shape[:2]
    image = Image.fromarray(subject.frame).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15)
    boxes = [("whole face", geometry.FULL_BOX, "white"), *zip(NAMES, subject.boxes, COLOURS, strict=True)]
    for name, (x0, y0, x1, y1), colour in boxes:
        corners = geometry.apply(subject.affine, [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]) * scale
        pen.line([tuple(corner) for corner in corners], fill=colour, width=3, joint="curve")
        left, top = corners[0]
        pen.text((left + 5, top + 4), name, colour, font, stroke_width=2, stroke_fill="black")
    for x, y in subject.landmarks * scale:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill="white", outline="black")
    x, y = geometry.apply(subject.affine, [(0.5, 0.5)])[0] * scale
    half = 0.62 * scale * float(np.linalg.norm(subject.affine[:, 0]))
    shown = (x - half, max(0.0, y - half), x + half, max(0.0, y - half) + 2 * half)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=shown)


def windows(subject: Subject) -> list[Image.Image]:
    """The face under ``w_0`` and under each ``w_r``: what is black, that view does not change."""
    t = (np.arange(CELL) + 0.5) / CELL
    views = [(geometry.FULL_BOX, subject.about.face_taper)]
    views += [(box, subject.about.region_taper) for box in subject.boxes]
    face = np.asarray(subject.canonical(subject.frame, CELL))
    pictures = []
    for (x0, y0, x1, y1), taper in views:
        u, v = (t - x0) / (x1 - x0), (t - y0) / (y1 - y0)
        weight = np.outer(geometry.window(v, taper), geometry.window(u, taper))
        pictures.append(Image.fromarray(np.rint(weight[..., None] * face).astype(np.uint8)))
    return pictures


def difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], subject: Subject) -> Image.Image:
    """Where two frames differ, around mid-grey and ``GAIN`` times as strong."""
    views = [resample(frame, subject.affine, CELL, CELL) for frame in (one, other)]
    return picture(GAIN * (views[1] - views[0]))


def row(cells: Sequence[Image.Image], labels: Sequence[str]) -> Image.Image:
    return contact_sheet.draw([cells], labels, CELL)


def pictures() -> dict[str, Image.Image]:
    """All of them, by the names of their files."""
    subject = Subject()
    edits = subject.edits(open_model(WEIGHTS, providers=PROVIDERS, threads=2))
    pasted = [subject.frame, *(subject.paste(one) for one in (global_alone(edits), local_alone(edits), edits))]
    original, _, _, both = pasted
    alone = subject.paste(subject.edits(without_interaction()))
    ages = range(20, 81, 12)
    with Transformer() as transformer:
        aged = [transformer.age(subject.frame, years=age, landmarks=subject.landmarks) for age in ages]

    def cells(frames: Sequence[npt.NDArray[np.uint8]]) -> list[Image.Image]:
        return [subject.canonical(frame, CELL) for frame in frames]

    everything = ["whole face", *NAMES]
    return {
        "regions.webp": regions(subject),
        "views.webp": row([picture(view, CELL) for view in (subject.face[0], *subject.patches[0])], everything),
        "edits.webp": row([picture(GAIN * change, CELL) for change in subject.changes(edits)], ["global", *NAMES]),
        "windows.webp": row(windows(subject), everything),
        "parts.webp": row(
            [*cells(pasted), difference(original, both, subject)],
            ["original", "global alone", "local alone", "both", "what was added"],
        ),
        "interaction.webp": row(
            [*cells([both, alone]), difference(alone, both, subject)],
            ["with interaction", "switched off", "what it brings"],
        ),
        "ages.webp": row(cells(aged), [f"{age} years" for age in ages]),
    }


def ageing() -> Animation:
    """The astronaut from the model's youngest age to its oldest and back, two years a picture."""
    subject = Subject()
    font = ImageFont.load_default(size=22)
    with Transformer() as transformer:
        clip = transformer.animate(subject.frame, seconds=2.7, fps=FPS, side=None, faces=[Face(subject.landmarks)])
    shown = []
    for age, aged in zip(clip.years, clip.frames, strict=True):
        image = subject.canonical(np.asarray(aged), MOVING_SIDE)
        place = (MOVING_SIDE / 2, MOVING_SIDE - 10)
        text = f"{age:.0f} years"
        ImageDraw.Draw(image).text(place, text, "white", font, anchor="mb", stroke_width=3, stroke_fill="black")
        shown.append(image)
    return replace(clip, frames=shown, times_ms=times_ms(len(shown), FPS, STAY_S)).boomerang()


def attract() -> Image.Image:
    """The astronaut at six ages, one beside the other, of which the kiosk's start screen fades one into the next."""
    landmarks = Subject().landmarks
    with Transformer() as transformer:
        aged = [transformer.age(data.astronaut(), years=age, landmarks=landmarks) for age in range(20, 81, 12)]
    width, height = ATTRACT_SIZE
    strip = Image.new("RGB", (len(aged) * width, height))
    for i, frame in enumerate(aged):
        shown = Image.fromarray(frame).resize(ATTRACT_SIZE, Image.Resampling.LANCZOS, ATTRACT_BOX)
        strip.paste(shown, (i * width, 0))
    return strip


def files() -> dict[Path, Image.Image]:
    """All that stand still, by their places."""
    return {FOLDER / name: image for name, image in pictures().items()} | {ATTRACT: attract()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / MOVING).write_bytes(ageing().encode(".webp", quality=70))
    for path, image in files().items():
        image.save(path, **WEBP)
        print(f"{path}: {image.width} x {image.height}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
