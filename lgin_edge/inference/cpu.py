"""The way of a frame: faces cut out, aged and pasted back. Here on the CPU; ``gpu`` is the same on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..edits import Edits
from ..faces import FaceBatch
from ..frames import Frame, PixelFormat
from ..kernels import FacePlan, region_crop, region_paste
from ..limits import LIMITS
from .interfaces import Backend, Stage


class CpuFramePath:
    """Our kernels on the CPU round a model that any back end runs. Several threads may call ``change`` at once.

    Args:
        backend: the model; closed with the path.
        threads: CPU threads of the kernels.
        batch: faces times ages of one call of the model, where it is more than one face: bounds the memory of a group
            photograph.
    """

    def __init__(self, backend: Backend, threads: int, batch: int = LIMITS.batch) -> None:
        self._backend, self._threads, self._batch = backend, threads, batch
        self.description = backend.description

    def change(
        self,
        source: Frame,
        pixel_format: PixelFormat,
        faces: FaceBatch,  # at least one
        codes: npt.NDArray[np.float32],  # [G, K], the ages
        results: Sequence[Frame],  # G, with the bytes of the source (one may be the source), changed in place
        stage: Stage,
    ) -> None:
        """From a frame and its faces to the frame at other ages.

        Raises:
            BackendError: the run time failed; earlier chunks of faces are then pasted already.
            ModelError: the model gave NaN or infinite values; likewise.
            ClosedError: after ``close``.
        """
        chunk = max(1, self._batch // len(codes))
        if len(faces) > chunk and any(np.may_share_memory(source, result) for result in results):
            source = source.copy()  # the later faces are cut out of the frame as it was, also where they overlap
        for start in range(0, len(faces), chunk):
            plan = FacePlan.of(source, faces[start : start + chunk], self.description.views, pixel_format)
            self._change_some(plan, source, codes, results, stage)

    def _change_some(
        self, plan: FacePlan, source: Frame, codes: npt.NDArray[np.float32], results: Sequence[Frame], stage: Stage
    ) -> None:
        with stage("crop"):
            face, patches = region_crop(plan, source, threads=self._threads)
        with stage("model"):
            ages = np.tile(codes, (len(plan.faces), 1))
            outputs = self._backend.run(face, patches, plan.faces.boxes.astype(np.float32), ages)
        with stage("paste"):
            names = self.description.outputs
            for i, result in enumerate(results):
                at_age = (
                    array if name == "place" else array[i :: len(codes)]
                    for name, array in zip(names, outputs, strict=True)
                )
                region_paste(plan, result, Edits(*at_age), out=result, threads=self._threads)

    def close(self) -> None:
        self._backend.close()
