"""What ages a picture, to be measured: a network, parts of a model file, or the targets that networks learn from.

Each is an ``Ager`` of ``training.evaluate`` and pastes with the run time's kernels, so all act on the same square alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lgin_edge import geometry
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.frames import Frame
from lgin_edge.geometry import ViewSpec
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import Edits, FacePlan, region_crop, region_paste, resample

from .. import data
from ..dataset.labels import Photo
from ..networks import FACE_BOX, LGIN
from ..targets import build, edits
from ..targets.subject import SIDE, subjects
from .measures import Floats

if TYPE_CHECKING:
    from ..evaluate import Ager

#: Landmarks of one person in two frames, aligned, differ by less than this, canonical; those of two people by far more.
_SAME_FACE = 1e-4


def of_network(net: LGIN) -> Ager:
    """T as it runs in the product, in PyTorch: the kernels cut the views and paste the edits."""

    @torch.no_grad()
    def run(face: Floats, patches: Floats, boxes: Floats, codes: Floats) -> list[Floats]:
        views = (torch.from_numpy(np.asarray(one)).float() for one in (face, patches, boxes))
        made = net(*views, torch.from_numpy(codes)[None]).edits
        place = made.place.expand(len(codes), -1, -1, -1)
        parts = (made.face_edit[0], made.patch_edit[0], made.flow[0], place, made.lines[0])
        return [one.float().contiguous().numpy() for one in parts]

    def codes(years: Sequence[float]) -> Floats:
        return data.age_codes(torch.tensor(years, dtype=torch.float64)).float().numpy()

    return _kernels_round(run, codes, ViewSpec(net.config.face_size, net.config.patch_size, face_box=FACE_BOX))


def of_parts(model: Path, whole: float, local: float) -> Ager:
    """The model of an ``.onnx`` file with its global and its local edits weighed: what each of them carries.

    Lines are the local generators' too; place is nobody's change.
    """
    backend = open_model(model, providers=("CPUExecutionProvider",), threads=1)
    names = tuple(backend.description.outputs)
    weight = {
        "face_delta": whole,
        "patch_delta": local,
        "face_edit": whole,
        "patch_edit": local,
        "flow": whole,
        "lines": local,
    }

    def run(face: Floats, patches: Floats, boxes: Floats, codes: Floats) -> list[Floats]:
        outputs = dict(zip(names, backend.run(face, patches, boxes.astype(np.float32), codes), strict=True))
        weighed = {name: np.asarray(array) * np.float32(weight.get(name, 1.0)) for name, array in outputs.items()}
        if "face_edit" in weighed:  # visible skin is no change: local lines are drawn on it
            weighed["face_edit"][:, 5] = outputs["face_edit"][:, 5]
        if "place" in weighed:
            weighed["place"] = np.repeat(weighed["place"], len(codes), axis=0)
        return list(weighed.values())

    def codes(years: Sequence[float]) -> Floats:
        return np.stack([backend.description.age_code(years=one) for one in years])

    return _kernels_round(run, codes, backend.description.views)


def _kernels_round(
    run: Callable[..., list[Floats]], codes: Callable[[Sequence[float]], Floats], spec: ViewSpec
) -> Ager:
    """Kernels round ``run(face, patches, boxes, codes [G, K])`` -> what ``Edits`` takes, [G, ...] each."""

    def age(frame: Frame, landmarks: Floats, years: Sequence[float]) -> list[Frame]:
        plan = FacePlan.of(frame, FaceBatch.of([Face(landmarks)]), spec)
        views = region_crop(plan, frame)
        outputs = run(*views, plan.faces.boxes, codes(years))
        return [region_paste(plan, frame, Edits(*(one[i : i + 1] for one in outputs))) for i in range(len(years))]

    return age


def of_targets(folder: Path, photos: Sequence[Photo]) -> Ager:
    """The targets that networks learn from (``training.targets``), told who is who and how old: what no network can exceed.

    A face is known by its landmarks, wherever a frame shows it; a face that is none of ``photos`` is left as it is.
    """
    people = [s for s in subjects(photos, folder / "mesh.npz") if build.edits_file(folder, s).is_file()]
    known = np.stack([_aligned(s.photo.landmarks) for s in people]) if people else np.empty((0, 5, 2))

    def age(frame: Frame, landmarks: Floats, years: Sequence[float]) -> list[Frame]:
        distance = np.abs(known - _aligned(landmarks)).max((1, 2))
        if not len(distance) or distance.min() > _SAME_FACE:
            return [frame.copy() for _ in years]
        subject = people[int(distance.argmin())]
        # The picture's own square in this frame: edits lie in it, however the face is aligned.
        back = geometry.invert(geometry.fit_similarity(subject.photo.landmarks))
        square = _then(
            _then(np.diag([subject.photo.size] * 2) @ np.eye(2, 3), back), geometry.fit_similarity(landmarks)
        )
        image = np.ascontiguousarray((resample(frame, square, SIDE, SIDE).transpose(1, 2, 0) + 1) / 2)
        own, lines = build.load(folder, subject), build.load_lines(folder, subject)
        spec = ViewSpec(face_size=SIDE)
        plan = FacePlan.of(frame, FaceBatch(square[None], geometry.REGION_BOXES[None]), spec)
        nothing = np.zeros((1, 5, 3, spec.patch_size, spec.patch_size), np.float32)
        aged = []
        for wanted in years:
            made = edits.apply(image, edits.at_age(own, subject.photo.age, wanted), lines, own.place)
            change = np.ascontiguousarray(2 * (made - image).transpose(2, 0, 1)[None], np.float32)
            aged.append(region_paste(plan, frame, Edits(change, nothing)))
        return aged

    return age


def _aligned(landmarks: Floats) -> Floats:
    """Landmarks [5, 2] where their own alignment puts them, canonical: the same in every frame that shows the face."""
    return geometry.apply(geometry.invert(geometry.fit_similarity(landmarks)), landmarks)


def _then(first: Floats, second: Floats) -> Floats:
    """The affine [2, 3] that applies one and then another."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])
