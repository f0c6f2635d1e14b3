"""Edits in PyTorch: the differentiable twin of ``lgin_edge.reference.region_paste``.

A canvas is the face's own view at some side: the frame as it is seen through view 0's box, the square that is edited. Values
are in [0, 1] here, ``v`` of the design; residuals are in units of [-1, 1], hence halved.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lgin_edge import geometry

from . import canonical

#: ITU-R BT.601 luma.
LUMA = (0.299, 0.587, 0.114)
#: Channels of a face's edit after the residual's three, and of a patch's.
GAIN, GREY, SKIN = 3, 4, 5


@dataclass
class Edits:
    """What T gives for B faces at one age each (or N faces at G ages with axes [N, G] for B, where it says so)."""

    face_edit: Tensor  # [B, 6, S, S]: residual d_g in units of [-1, 1], gain g > -1, grey s and skin m in [0, 1]
    patch_edit: Tensor  # [B, 5, 4, P, P]: residuals d_r and gains g_r
    flow: Tensor  # [B, 2, s, s] canonical (x, y)
    place: Tensor  # [B, 2, s, s] in [0, 1]^2
    lines: Tensor  # [B, 1, A, A] log light in mesh space

    def map(self, change: object) -> Edits:
        return Edits(**{f.name: change(getattr(self, f.name)) for f in fields(self)})  # type: ignore[operator]

    def single(self) -> Edits:
        """The edits at the first of G ages, [N, ...], of those with axes [N, G]."""
        return Edits(self.face_edit[:, 0], self.patch_edit[:, 0], self.flow[:, 0], self.place, self.lines[:, 0])


def luma(picture: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]."""
    r, g, b = picture.split(1, 1)
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def read_maps(maps: Tensor, size: int) -> Tensor:
    """Maps of the whole square [B, C, s, s] at ``size`` pixels: bilinear, half-pixel centres, border replicated.

    As two matrix products: the gradient of a resize is a scatter once it is compiled, several times as slow.
    """
    if maps.shape[-1] == size:
        return maps
    ends = maps.new_tensor((0.0, 1.0))
    reader = canonical.hat(ends[0], ends[1], size, maps.shape[-1])
    return reader @ maps @ reader.mT


def axis_window(size: int, taper: float, like: Tensor) -> Tensor:
    """``w_0`` along one side of a canvas, [size]."""
    return canonical.window((torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) / size, taper).to(
        like.dtype
    )


def square_window(size: int, taper: float, like: Tensor) -> Tensor:
    """``w_0`` on a canvas [size, size]."""
    w = axis_window(size, taper, like)
    return w[:, None] * w


def flow_on_canvas(flow: Tensor, size: int, face_box: tuple[float, float, float, float]) -> Tensor:
    """``w_0 f`` on a canvas [B, 2, size, size] in units of its side, of flow [B, 2, s, s] in canonical units."""
    x0, y0, x1, y1 = face_box
    ends, extent = flow.new_tensor((0.0, 1.0)), flow.new_tensor((x1 - x0, y1 - y0))
    reader = (
        canonical.hat(ends[0], ends[1], size, flow.shape[-1]) * axis_window(size, geometry.FACE_TAPER, flow)[:, None]
    )
    # Twice from the left, as one matrix: an exported file would hold its transpose too.
    return reader @ (reader @ (flow / extent[:, None, None]).mT).mT


@dataclass
class Composed:
    """Edits of whole faces and their regions added up on a canvas of side H, windows applied."""

    change: Tensor  # [B, 3, H, H] residual in units of [0, 1]
    gain: Tensor  # [B, 1, H, H]
    grey: Tensor  # [B, 1, H, H]
    skin: Tensor  # [B, 1, H, H]
    flow: Tensor  # [B, 2, H, H] in units of the canvas' side
    drawn: Tensor  # [B, 1, H, H] log light of the lines


def compose(edits: Edits, boxes: Tensor, size: int, face_box: tuple[float, float, float, float]) -> Composed:
    """What the edits are at each pixel of a canvas, the square of ``face_box``; boxes [B, 5, 4] canonical."""
    x0, y0, x1, y1 = face_box
    extent = boxes.new_tensor((x1 - x0, y1 - y0))
    w0 = square_window(size, geometry.FACE_TAPER, boxes)
    whole = read_maps(edits.face_edit, size) * w0
    # The regions' boxes in units of the canvas' square.
    local = (boxes - boxes.new_tensor((x0, y0, x0, y0))) / torch.cat([extent, extent])
    by, bx = canonical.windowed_reader(local, size, edits.patch_edit.shape[-1], geometry.REGION_TAPER)
    # Rows of each region first, then all regions' columns in one product: their sum, without a canvas for each.
    by, bx = (reader.to(edits.patch_edit.dtype) for reader in (by, bx))
    rows = (by[:, :, None] @ edits.patch_edit).permute(0, 2, 3, 1, 4).flatten(3)  # [B, 4, H, 5 P]
    parts = (rows @ bx.mT.flatten(1, 2)[:, None]).to(boxes.dtype)  # [B, 4, H, H]
    place = read_maps(edits.place, size).permute(0, 2, 3, 1)
    return Composed(
        (whole[:, :3] + parts[:, :3]) / 2,
        whole[:, GAIN : GAIN + 1] + parts[:, 3:4],
        whole[:, GREY : GREY + 1],
        whole[:, SKIN : SKIN + 1],
        flow_on_canvas(edits.flow, size, face_box),
        F.grid_sample(edits.lines, 2 * place - 1, padding_mode="border", align_corners=False),
    )


def render(edits: Composed, canvas: Tensor, edit_format: int = 4) -> Tensor:
    """The edited canvas [B, 3, H, H] in [0, 1], of formats 2 to 4.

    It moves by a bilinear reading here; the kernels read by a sharper filter, which training need not pay for.
    """
    v = flowed(canvas, edits.flow) if edit_format == 2 else canvas
    y = luma(v)
    greyed, of_lines = v + edits.grey * (y - v), torch.exp(edits.skin * edits.drawn)
    lit = greyed + (of_lines - 1) * (y if edit_format >= 4 else greyed)
    edited = ((1 + edits.gain).clamp(min=0) * lit + edits.change).clamp(0, 1)
    return edited if edit_format == 2 else flowed(edited, edits.flow)


def apply(
    edits: Edits,
    boxes: Tensor,
    canvas: Tensor,
    face_box: tuple[float, float, float, float],
    edit_format: int = 4,
) -> Tensor:
    """The edited canvas [B, 3, H, H] in [0, 1] of a canvas of the same shape, the square of ``face_box``."""
    return render(compose(edits, boxes, canvas.shape[-1], face_box), canvas, edit_format)


def flowed(canvas: Tensor, flow: Tensor) -> Tensor:
    """A canvas [B, C, H, H] read at ``u + flow(u)``, flow [B, 2, H, H] in units of its side."""
    size = canvas.shape[-1]
    t = (torch.arange(size, device=canvas.device, dtype=canvas.dtype) + 0.5) / size
    grid = torch.stack([t + flow[:, 0], t[:, None] + flow[:, 1]], -1)
    return F.grid_sample(canvas, 2 * grid - 1, padding_mode="border", align_corners=False)


def painting_no_colour(e: Edits) -> Edits:
    """The same edits [N, G, ...]. By their residuals a gradient moves light alone, all colours alike, and only where there is no skin; gain, grey,
    lines and shape keep theirs.

    By residuals D painted skin purple within a thousand steps, and, when it could not, the rims of hair pink. Gains leave each its own hue.
    """
    residual, rest = e.face_edit.split((3, e.face_edit.shape[2] - 3), 2)
    light = (1 - e.face_edit[:, :, SKIN:].detach()) * residual.mean(2, keepdim=True)
    residual = residual.detach() + (light - light.detach())
    of_patch, gain = e.patch_edit.split((3, 1), -3)
    return replace(e, face_edit=torch.cat([residual, rest], 2), patch_edit=torch.cat([of_patch.detach(), gain], -3))
