"""T as a model file holds it: the generators, and what is worked out from the picture beside what they say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .ages import lines_of_groups
from .edits import Edits, luma
from .greying import Greying, kept_light
from .lines import Lines, shown
from .networks import LGIN, Transformation, mean_of_regions
from .targets import curves
from .texture import Grain, Texture, shaded


class Exported(nn.Module):
    """T without the coarse images that only L_I needs, with hair that greys along its strands, and skin and lines as the picture shows them.

    A face that gets no lines gets no older, and nothing of it turns grey: fair hair, which a network may take for grey hair that is to get
    dark again, would turn ashen. What follows goes by the lines that a face has already, which rise with its age (``lines_now``):

    - Hair of a face that gets younger and has few is light for another reason than age: well below the present age it gets darker
      by ``LIGHT`` at most. (On the val split 8 of 11 people of 42 to 48 have so few, one of 20 of 48 to 54: their grey hair stays.)
    - Skin of a face that gets older and has lines gets its own finest detail stronger. Skin of one that has none has no such detail: it
      gets a ``texture.Grain``. So does skin that gets younger, because what takes its lines away takes pores with them.
    - Skin of a face that gets older, with lines or without, loses blotches of colour (``blotches``).
    - Lines are deeper in a picture of hard light, and blurred in a blurred one (``texture.shaded``), at any age.
    """

    #: Lines that a face has, in units of ``curves``: at 46 years, and less is few; light.
    FEW, LIGHT = 0.25, 0.08
    #: And at 33 and 42 years, between which skin begins to roughen; lines gained by which it has, and by which blotches are as
    #: faint as they get.
    SMOOTH, ROUGH, ROUGHENED = 0.07, 0.17, 0.8
    #: Lines at 31 and 46 years, between which what a face loses when it gets younger begins to be its age; and at 36 and 46 years, between
    #: which skin comes to have its own grain.
    NONE, SOME, SMOOTHEST = 0.05, 0.25, 0.10
    #: How much of a face's change of shape is drawn when it gets older, across and down. In full, jaws got wide
    #: and boxy (a quarter across was chosen in 60 % [51, 69], on 40 people); what sinks may sink further (a third more: 55 % [46, 64], undecided).
    #: Young faces got square jaws even so: less was chosen in 65 % [57, 74] of 26 people under 46, women 71, as it was then: in full up to 36 years
    #: and gone from 46 on. It fades more slowly, from a face without lines to one with those of 53 years: how many a face has is not told exactly.
    SHAPE, SHAPE_OF_YOUNG, SHAPED = (0.25, 1.25), (0.0, 0.9), 0.40
    #: Mean depth of the lines from which on a face gets older: 0.00 at ages below the present one, 0.02 at it, 0.5 some years beyond.
    OLDER = 0.05

    def __init__(self, net: LGIN) -> None:
        super().__init__()
        self.net = net
        self.greying = Greying(net.config.face_size)
        self.texture = Texture()
        self.grain = Grain(net.config.texture_size)
        self.oldest = curves.at("lines", Lines.READ[1])
        self.register_buffer("curve", lines_of_groups()[:, None], persistent=False)
        of_young, of_others = (torch.tensor(shape)[:, None, None] for shape in (self.SHAPE_OF_YOUNG, self.SHAPE))
        self.register_buffer("shape", of_others - 1, persistent=False)
        self.register_buffer("shape_of_young", of_young - of_others, persistent=False)

    def forward(self, face: Tensor, patches: Tensor, boxes: Tensor, age: Tensor) -> tuple[Tensor, ...]:
        e = self.finished(self.net(face, patches, boxes, age), face)
        return e.face_edit, e.patch_edit, e.flow, e.place, e.lines

    def finished(self, made: Transformation, face: Tensor) -> Edits:
        """The edits of N faces at G ages as the generators say them, with all that is worked out; of views [N, 3, S, S] in [-1, 1]."""
        depth, now = mean_of_regions(made.depth), made.now
        # What is drawn, less a number of the face's own that says nothing of its age (``lines_now``).
        gained = depth * (self.oldest - now) / made.read[:, 1:].clamp(min=0.4)
        older = (depth / self.OLDER).clamp(max=1.0)
        # All that there is, soon.
        darker = self.LIGHT + 5 * (older - 0.2).clamp(min=0) + 5 * (now - self.FEW).clamp(min=0)
        aged = (gained / self.ROUGHENED).clamp(max=1.0)
        edits = made.edits
        others, grey, skin = edits.face_edit.split((4, 1, 1), 2)
        light = (luma(face) + 1) / 2
        others = kept_light(light, others, skin, darker[..., None, None])
        rough = self.texture(face, light, skin, aged * ((now - self.SMOOTH) / (self.ROUGH - self.SMOOTH)).clamp(0, 1))
        sharp = self.greying.sharpness(light)[:, 0, 0]
        lost = (1 - (made.age @ self.curve)[..., 0] / now.clamp(min=self.NONE)).clamp(0, 1) * (1 - older)
        lost = lost * ((now - self.NONE) / (self.SOME - self.NONE)).clamp(0, 1)
        fresh = ((self.SOME - now) / (self.SOME - self.SMOOTHEST)).clamp(0, 1)
        lines = shaded(edits.lines, light, skin, sharp) + self.grain(sharp * (fresh * depth + lost).clamp(max=1.0))
        skin = shown(light, skin[:, :, 0])[:, :, None]
        grey = older[..., None, None, None] * grey
        face_edit = self.greying(face, light, torch.cat([others, grey, skin], 2), aged)
        others, rest = face_edit.split((4, 2), 2)
        young = (1 - now / self.SHAPED).clamp(0, 1)
        shape = self.shape + young[..., None, None, None] * self.shape_of_young
        flow = edits.flow * (1 + older[..., None, None, None] * shape)
        return Edits(torch.cat([others + rough, rest], 2), edits.patch_edit, flow, edits.place, lines)
