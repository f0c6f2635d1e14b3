"""The house's frame and logo on what visitors take away."""

from __future__ import annotations

from PIL import Image

#: Of the logo: its height in shorter sides of the picture, its largest width in widths of the picture, and its distance from the edges
#: in its height.
_HEIGHT, _WIDTH, _MARGIN = 1 / 8, 1 / 3, 1 / 4


def framed(image: Image.Image, frame: Image.Image | None) -> Image.Image:
    """A copy of the picture under the frame, a picture in RGBA that takes the picture's shape; itself without one."""
    return image if frame is None else _over(image, frame.resize(image.size, Image.Resampling.LANCZOS), (0, 0))


def with_logo(image: Image.Image, logo: Image.Image | None) -> Image.Image:
    """A copy of the picture with the logo, in RGBA, at the left of its bottom; itself without one."""
    if logo is None:
        return image
    scale = min(_HEIGHT * min(image.size) / logo.height, _WIDTH * image.width / logo.width)
    small = logo.resize(
        (max(1, round(scale * logo.width)), max(1, round(scale * logo.height))), Image.Resampling.LANCZOS
    )
    margin = round(_MARGIN * small.height)
    return _over(image, small, (margin, image.height - small.height - margin))


def _over(image: Image.Image, top: Image.Image, place: tuple[int, int]) -> Image.Image:
    copy = image.convert("RGB")
    copy.paste(top, place, top)
    return copy
