"""``Transformer``: a model, a detector and the kernels behind one noun."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from . import geometry
from ._process import Origin
from .age_estimator import WEIGHTS as AGE_WEIGHTS
from .age_estimator import AgeEstimate, AgeModel
from .detectors import Detector
from .detectors.centerface import CenterFace
from .errors import BackendError, ClosedError, ImageError, InputError
from .faces import Face, FaceBatch
from .frames import Color, Frame, PixelFormat
from .inference.cpu import CpuFramePath
from .inference.device_array import device_frame, is_on_device
from .inference.loader import open_path
from .kernels import resample
from .limits import LIMITS, Limits
from .models.description import AgeGroup, Description, check_template

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from .inference.gpu import GpuFramePath

#: The model that comes with the package, and its twin in int8: ``Transformer("int8")``.
WEIGHTS = Path(__file__).parent / "weights" / "lgin.onnx"
INT8_WEIGHTS = WEIGHTS.with_name("lgin-int8.onnx")

# A picture comes back as what it was: an array as an array, a Pillow image as a Pillow image.
ImageT = TypeVar("ImageT", Frame, "Image.Image")


@dataclass
class Details:
    """What the last call of this thread did.

    Attributes:
        faces: the faces that were found, or given; empty means that the picture came back unchanged.
        times: milliseconds by stage, of those that the call had: "detect", "crop", "model", "paste" and "total"; on a GPU
            "gpu" for the three in the middle, with the copies there and back.
    """

    faces: list[Face] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + 1e3 * (time.perf_counter() - start)


def model_path(model: str | os.PathLike[str] | None) -> Path:
    """The file of a model as ``Transformer`` takes it: a path, "int8", or None for the bundled one."""
    if model is None:
        return WEIGHTS
    path = Path(model)
    return INT8_WEIGHTS if path == Path("int8") and not path.exists() else path


class Transformer:
    """Makes the faces of a picture younger or older.

    >>> t = lgin_edge.Transformer()
    >>> older = t.age(img, group=3)  # img: [H, W, 3] uint8 RGB, or a Pillow image

    One transformer may be used by several threads at once. It is a context manager; ``close`` frees the models. A forked
    process makes its own: in a child every call raises BackendError.

    Args:
        model: an ``.onnx`` model file, or an engine that ``lgin-edge build`` made of one; the bundled model when not given, and
            "int8" for its twin in 8 bits: on a CPU 1.3 to 1.6 times as fast, for pictures that differ by about 50 dB. An
            engine is native code: load only one that you built or trust. It is refused unless its SHA-256 is the one in the
            file beside it.
        device: where frames are changed: "cpu", or a GPU by its number, "cuda" or "cuda:1". When not given, the CPU for
            ``.onnx``, GPU 0 for an engine. A GPU runs ``.onnx`` by ONNX Runtime's CUDA provider.
        sha256: the hash that the model file must have: pins an ``.onnx``; for an engine, instead of the file beside it.
        age_model: an ``.onnx`` file for ``estimate_age``, which loads it when first called; the bundled one when not given.
        detector: finds the faces, ``detectors.Detector``; the bundled ``CenterFace`` when not given.
        providers: ONNX Runtime providers for the models on the CPU and for the age model, the preferred first.
        threads: CPU threads of one call, 1 to 1024; when not given, as many as this process may use cores.
        limits: what is taken at most of model files, and how many faces of a picture.

    Raises:
        ModelError: the model file is missing, damaged, or not one that this version can run.
        BackendError: a run time or a provider that is needed is not there.
        InputError: an argument out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: int | str | None = None,
        sha256: str | None = None,
        age_model: str | os.PathLike[str] | None = None,
        detector: Detector | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._origin = Origin("this Transformer")
        self._threads = _usable_cores() if threads is None else threads
        if not isinstance(self._threads, int) or not 1 <= self._threads <= 1024:
            raise InputError(f"threads: expected a whole number from 1 to 1024, got {threads!r}")
        path = model_path(model)
        self._path: CpuFramePath | GpuFramePath | None = open_path(
            path, device=device, providers=providers, threads=self._threads, sha256=sha256, limits=limits
        )
        self._description = self._path.description
        check_template(path, self._description)
        if detector is None:
            detector = CenterFace(threads=self._threads, max_faces=limits.faces)
        self._detector: Detector | None = detector
        self._age_path = AGE_WEIGHTS if age_model is None else Path(age_model)
        self._age_model: AgeModel | None = None
        self._age_lock = threading.Lock()
        self._providers = tuple(providers)
        self._limits = limits
        self._local = threading.local()

    @property
    def groups(self) -> tuple[AgeGroup, ...]:
        """The age groups of the model by rising age, each with label, bounds and centre in years."""
        return self._description.groups

    @property
    def description(self) -> Description:
        """What the model file says of itself."""
        return self._description

    @property
    def frame_path(self) -> CpuFramePath | GpuFramePath:
        """What cuts, changes and pastes faces, for those who measure its parts. Raises ClosedError after ``close``."""
        return self._open_path()

    @property
    def last(self) -> Details:
        """The faces found by this thread's last call, and the time of each of its stages."""
        details: Details = getattr(self._local, "details", Details())
        return details

    def detect(self, image: Frame | Image.Image, *, color: Color | None = None) -> list[Face]:
        """Find the faces of a picture.

        Args:
            image: as for ``age``.
            color: as for ``age``.

        Returns:
            The faces, the largest first, in pixels of the picture as it is.

        Raises:
            InputError: the picture has the wrong type, shape or dtype.
            ClosedError: after ``close``.
        """
        self._open_path()
        frame, order, _ = _to_frame(image, color)
        details = self._begin()
        with details.stage("total"):
            details.faces = self._find(frame, order, details)
        return details.faces

    def age(
        self,
        image: ImageT,
        *,
        group: float | None = None,
        years: float | None = None,
        faces: Sequence[Face] | None = None,
        landmarks: npt.ArrayLike | None = None,
        strength: float | Sequence[float] = 1.0,
        color: Color | None = None,
        out: Frame | None = None,
    ) -> ImageT:
        """The picture with its faces at another age. Bytes outside the face squares stay as they are.

        Args:
            image: uint8 array, [H, W, 3] RGB by default, or a Pillow image. Pillow images of mode L, LA, RGB and RGBA come
                back in their mode; palettes, CMYK and the like come back as RGB or RGBA. The EXIF orientation is not
                applied: turn a photograph upright first (``PIL.ImageOps.exif_transpose``). Or, with a transformer on a GPU,
                an array on that GPU by ``__cuda_array_interface__`` (CuPy, PyTorch) or DLPack: changed in place on the
                array's stream (DLPack: the default one), without waiting for it, and given back. To find faces it is
                copied down, so give ``faces`` or ``landmarks`` where time counts.
            group: index into ``groups``, 0 to K - 1; 3.5 is half way between groups 3 and 4.
            years: or an age in years, 0 to 130. Exactly one of the two.
            faces: the faces to change, from ``detect``; all that are found when not given.
            landmarks: or their landmarks, [5, 2] or [N, 5, 2] (x, y) in pixels, ordered as
                ``geometry.LANDMARK_NAMES``: no face is searched.
            strength: how much of the change is made, 0 (none) to 1; one number, or one for each face: to fade faces in and
                out. It mixes pictures; an age in between is ``group`` or ``years``.
            color: channel order of an array: "rgb", "bgr", "rgba", "bgra" or "nv12" ([H * 3/2, W]). By default "rgb" for
                three channels, "rgba" for four. Alpha is kept.
            out: for arrays: where the result goes, of the same shape; ``out=image`` changes the picture in place.

        Returns:
            A new picture of the same type, or ``out``. Without a face an unchanged copy, and ``last.faces`` is empty.

        Raises:
            InputError: an argument has the wrong type, shape, dtype or value.
            BackendError: the run time failed.
            ClosedError: after ``close``.
        """
        code = self._description.age_code(group=group, years=years)
        if not isinstance(image, np.ndarray) and is_on_device(image):
            if out is not None:
                raise InputError("out: a frame on the device is changed in place; copy it first to keep it")
            self._change_on_device(image, code, faces, landmarks, strength, color)
            return image
        return self._change(image, code[None], faces, landmarks, strength, color, out)[0]

    def timeline(
        self,
        image: ImageT,
        *,
        faces: Sequence[Face] | None = None,
        landmarks: npt.ArrayLike | None = None,
        color: Color | None = None,
    ) -> list[ImageT]:
        """The picture at every age group: K pictures, by rising age. Each face is encoded once.

        Args, errors: as for ``age``.
        """
        codes = np.eye(len(self.groups), dtype=np.float32)
        return self._change(image, codes, faces, landmarks, 1.0, color, None)

    def estimate_age(
        self,
        image: Frame | Image.Image,
        *,
        faces: Sequence[Face] | None = None,
        landmarks: npt.ArrayLike | None = None,
        color: Color | None = None,
    ) -> list[AgeEstimate]:
        """How old the faces of a picture look, by the age model. Its first call loads that model.

        A rough estimate, not a measurement: it lies between the centres of the first and the last age group (30 and 70 in
        the bundled model) and leans to the middle; children and the very old come out wrong by decades.

        Args, errors: as for ``age``, and ModelError: the age model is missing, damaged, or a model of another kind.

        Returns:
            One estimate a face, in the order of ``last.faces``; none where there is no face.
        """
        self._open_path()
        frame, order, _ = _to_frame(image, color)
        given = _given_faces(faces, landmarks)
        model = self._open_age_model()
        side = model.description.face_size
        details = self._begin()
        estimates: list[AgeEstimate] = []
        with details.stage("total"):
            details.faces = self._find(frame, order, details) if given is None else given
            affines = [face.affine for face in details.faces]
            for start in range(0, len(affines), self._limits.batch):
                with details.stage("crop"):
                    part = affines[start : start + self._limits.batch]
                    views = np.empty((len(part), 3, side, side), np.float32)
                    for view, affine in zip(views, part, strict=True):
                        view[:] = resample(frame, affine, side, side, pixel_format=order, threads=self._threads)
                with details.stage("model"):
                    estimates += model.run(views)
        return estimates

    def close(self) -> None:
        """Free the models once no call is running; every later call raises ClosedError.

        Raises:
            BackendError: a GPU did not free everything, as when it was lost; it is closed all the same.
        """
        path, self._path, self._detector = self._path, None, None
        if not self._origin.here:
            return  # the models are the parent's, and so may be the locks
        try:
            if path is not None:
                path.close()
        finally:
            with self._age_lock:  # after a thread that loads the age model just now; a later one finds no path
                age_model, self._age_model = self._age_model, None
            if age_model is not None:
                age_model.close()

    def __enter__(self) -> Self:
        self._open_path()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BackendError:
            if kind is None:  # otherwise what went wrong first is told
                raise

    def _open_path(self) -> CpuFramePath | GpuFramePath:
        path = self._path
        if path is None:
            raise ClosedError("this Transformer was closed; make a new one")
        self._origin.check()
        return path

    def _open_age_model(self) -> AgeModel:
        """The age model, loaded by the first thread that asks for it."""
        with self._age_lock:
            self._open_path()
            if self._age_model is None:
                self._age_model = AgeModel(
                    self._age_path, providers=self._providers, threads=self._threads, limits=self._limits
                )
            return self._age_model

    def _begin(self) -> Details:
        details = self._local.details = Details()
        return details

    def _find(self, frame: Frame, pixel_format: PixelFormat, details: Details) -> list[Face]:
        detector = self._detector
        if detector is None:
            raise ClosedError("this Transformer was closed; make a new one")
        with details.stage("detect"):
            found = detector(frame, pixel_format.value)
        return found[: self._limits.faces]

    def _change(
        self,
        image: ImageT,
        codes: npt.NDArray[np.float32],  # [G, K], the ages
        faces: Sequence[Face] | None,
        landmarks: npt.ArrayLike | None,
        strength: float | Sequence[float],
        color: Color | None,
        out: Frame | None,
    ) -> list[ImageT]:
        path = self._open_path()
        frame, order, restore = _to_frame(image, color)
        given = _given_faces(faces, landmarks)
        if out is not None:
            _check_out(image, frame, out)
        details = self._begin()
        with details.stage("total"):
            details.faces = self._find(frame, order, details) if given is None else given
            placed = _placed(details.faces, strength)
            source = frame
            if out is None:
                results = [np.array(frame, order="C") for _ in codes]
            else:
                if out is not frame:
                    if np.may_share_memory(out, frame):
                        source = frame.copy()
                    np.copyto(out, source)
                results = [out]
            if len(placed):
                path.change(source, order, placed, codes, results, details.stage)
        return [cast(ImageT, restore(result)) for result in results]

    def _change_on_device(
        self,
        image: Any,
        code: npt.NDArray[np.float32],  # [K]
        faces: Sequence[Face] | None,
        landmarks: npt.ArrayLike | None,
        strength: float | Sequence[float],
        color: Color | None,
    ) -> None:
        path = self._open_path()
        if isinstance(path, CpuFramePath):
            raise InputError("image: lies on a GPU, and this Transformer works on the CPU; make it with device=0")
        frame = device_frame(image, color)
        given = _given_faces(faces, landmarks)
        details = self._begin()
        with details.stage("total"):
            details.faces = self._find(path.download(frame), frame.pixel_format, details) if given is None else given
            placed = _placed(details.faces, strength)
            if len(placed):
                path.change_on_device(frame, placed, code, details.stage)


def _usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _placed(faces: Sequence[Face], strength: float | Sequence[float]) -> FaceBatch:
    """The faces that change at all. Raises InputError."""
    try:
        strengths = np.broadcast_to(np.asarray(strength, np.float64), len(faces))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"strength: expected a number, or one for each of the {len(faces)} faces, got {strength!r}"
        ) from error
    if not ((strengths >= 0) & (strengths <= 1)).all():
        raise InputError(f"strength: expected 0 to 1, got {strength!r}")
    return FaceBatch.of(faces, strengths)[strengths > 0]


def _given_faces(faces: Sequence[Face] | None, landmarks: npt.ArrayLike | None) -> list[Face] | None:
    """The faces that the caller chose; None if they are to be found."""
    if faces is not None and landmarks is not None:
        raise InputError("give faces= or landmarks=, not both")
    if landmarks is not None:
        try:
            points = np.asarray(landmarks, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"landmarks: expected numbers of shape (5, 2) or (N, 5, 2): {error}") from error
        if points.shape[-2:] != (5, 2) or points.ndim not in (2, 3):
            raise InputError(
                f"landmarks: expected shape (5, 2) or (N, 5, 2), {geometry.LANDMARK_NAMES} as (x, y) pixels, got {points.shape}"
            )
        return [Face(one) for one in points.reshape(-1, 5, 2)]
    if faces is None:
        return None
    if not isinstance(faces, Sequence) or not all(isinstance(face, Face) for face in faces):
        raise InputError(f"faces: expected a list of Face, as detect() gives, got {type(faces).__name__}")
    return list(faces)


def _to_frame(image: Any, color: Color | None) -> tuple[Frame, PixelFormat, Callable[[Frame], Any]]:
    """An array for the kernels, its pixel format, and the way back to what the caller gave."""
    if isinstance(image, np.ndarray):
        order = PixelFormat.parse(color) if color else _format_of(image)
        order.check("image", image)
        return image, order, lambda result: result
    pillow = sys.modules.get("PIL.Image")  # whoever gives a Pillow image has imported it
    if pillow is None or not isinstance(image, pillow.Image):
        raise InputError(f"image: expected a NumPy array [H, W, 3] uint8 or a Pillow image, got {type(image).__name__}")
    if color is not None:
        raise InputError(f"color: a Pillow image knows its own; leave color out, got {color!r}")
    from .images import to_plain

    try:
        plain = to_plain(image)
    except ImageError as error:
        raise InputError(f"image: {error}") from error
    order = PixelFormat.RGBA if plain.mode in ("RGBA", "LA") else PixelFormat.RGB

    def restore(result: Frame) -> Any:
        back = pillow.fromarray(result)
        if back.mode != plain.mode:
            back = back.convert(plain.mode)
        back.info = dict(image.info)
        if plain.mode != image.mode:
            back.info.pop("transparency", None)
            if image.mode in ("CMYK", "LAB"):
                back.info.pop("icc_profile", None)  # it describes the old colours
        return back

    return np.asarray(plain.convert(order.name)), order, restore


def _format_of(frame: Frame) -> PixelFormat:
    if frame.ndim == 3 and frame.shape[2] in (3, 4):
        return PixelFormat.RGB if frame.shape[2] == 3 else PixelFormat.RGBA
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        raise InputError(
            f"image: expected [H, W, 3 or 4], got shape {frame.shape}. Make a grey picture RGB with "
            'np.stack([gray] * 3, axis=-1); if it is NV12, say color="nv12"'
        )
    raise InputError(f"image: expected [H, W, 3] RGB or [H, W, 4] RGBA, got shape {frame.shape}")


def _check_out(image: Any, frame: Frame, out: Frame) -> None:
    if not isinstance(image, np.ndarray):
        raise InputError("out: only for arrays; a Pillow image comes back as a new one")
    if not isinstance(out, np.ndarray) or out.shape != frame.shape or out.dtype != frame.dtype:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputError(f"out: expected an array like the image, {frame.dtype} {frame.shape}, got {got}")
    if not out.flags.writeable:
        raise InputError("out: expected an array that can be written to")
