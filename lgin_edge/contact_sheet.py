"""Drawing a strip: a face as it is and at every age group, side by side with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from . import geometry
from .faces import Face
from .fonts import font_for
from .frames import Frame
from .images import over_white, to_plain

if TYPE_CHECKING:
    from .transformer import Transformer

CELL = 256
_GAP = 6
#: ``--ground`` of the kiosk's style.css.
_DARK = (11, 13, 18)
#: Side of the part that is shown, in sides of the face square.
_ROOM = 1.25


def timeline_strip(transformer: Transformer, image: Image.Image | Frame, faces: Sequence[Face]) -> Image.Image:
    """A labelled strip, an RGB image, one row a face: the original, then every age group.

    Args:
        image: Pillow image, any mode that ``Transformer.age`` takes, or an array [H, W, 3] in RGB.
        faces: which faces, from ``Transformer.detect``.
    """
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    rows = [row(transformer, picture, face, CELL) for face in faces]
    return draw(rows, ["original", *(group.label for group in transformer.groups)])


def draw(
    rows: Sequence[Sequence[Image.Image]], labels: Sequence[str], cell: int = CELL, language: str = "en"
) -> Image.Image:
    """Pictures in rows under a line of labels in that language, on white; each picture is ``cell`` x ``cell`` pixels."""
    font = font_for("".join(labels), max(10, cell // 12), language)
    head = 2 * max(10, cell // 12)
    width = len(labels) * (cell + _GAP) + _GAP
    sheet = Image.new("RGB", (width, head + len(rows) * (cell + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, label in enumerate(labels):
        x = _GAP + i * (cell + _GAP)
        pen.text((x + cell / 2, head / 2), label, fill=(40, 40, 40), font=font, anchor="mm")
        for j, row in enumerate(rows):
            sheet.paste(row[i], (x, head + j * (cell + _GAP)))
    return sheet


def in_two_rows(
    pictures: Sequence[Image.Image], labels: Sequence[str], cell: int, language: str, foot: float
) -> Image.Image:
    """Pictures as ``draw`` shows one row, the second half below the first: the shape of paper and of phones.

    ``foot`` is the height of the band below them, in cells. It is dark, as the kiosk's screens are: a house's logo is made for one ground.
    """
    sheet = draw([pictures], labels, cell, language)
    start = -(-len(pictures) // 2) * (cell + _GAP)  # of the second half
    folded = Image.new("RGB", (start + _GAP, 2 * sheet.height + round(foot * cell)), "white")
    folded.paste(sheet, (0, 0))
    folded.paste(sheet.crop((start, 0, sheet.width, sheet.height)), (0, sheet.height))
    folded.paste(_DARK, (0, 2 * sheet.height, start + _GAP, folded.height))
    return folded


def row(transformer: Transformer, image: Image.Image, face: Face, cell: int) -> list[Image.Image]:
    """The original and every age group of one face, cut around it: RGB images of ``cell`` x ``cell`` pixels."""
    affine = face.affine
    corners = geometry.apply(affine, [(0, 0), (1, 0), (0, 1), (1, 1)])
    x, y = corners.mean(axis=0)
    side = min(_ROOM * float(np.linalg.norm(affine[:, 0])), *image.size)
    x = float(np.clip(x, side / 2, image.width - side / 2))
    y = float(np.clip(y, side / 2, image.height - side / 2))
    shown = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    # Only what the strip shows goes through the model's copies: a photograph of 12 megapixels would make five of itself.
    low = np.floor(np.clip(np.minimum(corners.min(axis=0), shown[:2]) - 1, 0, image.size)).astype(int)
    high = np.ceil(np.clip(np.maximum(corners.max(axis=0), shown[2:]) + 1, 0, image.size)).astype(int)
    part = image.crop((*low.tolist(), *high.tolist()))
    pictures = [part, *transformer.timeline(part, landmarks=face.landmarks - low)]
    box = tuple((shown - np.tile(low, 2)).tolist())
    reducing = Image.Resampling.LANCZOS
    return [over_white(to_plain(one)).convert("RGB").resize((cell, cell), reducing, box=box) for one in pictures]
