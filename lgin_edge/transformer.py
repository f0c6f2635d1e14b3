"""``Transformer``: a model, a detector and the kernels behind one noun. It has nothing to do with attention."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geometry
from ._process import ForkGuard, usable_cores
from .age_estimator import WEIGHTS as AGE_WEIGHTS
from .age_estimator import AgeEstimate, AgeModel
from .arguments import check_integer
from .call_stats import CallStats
from .detectors import Detector
from .detectors.centerface import CenterFace
from .errors import BackendError, ClosedError, InputError, not_copied, shown
from .faces import Face
from .files import is_file
from .frames import Color, Frame, PixelFormat
from .inference.cpu import CpuFramePath
from .inference.device_array import device_frame, is_on_device
from .inference.loader import open_path
from .inputs import code_of, given_faces, picture_of, placed, targets, to_frame
from .limits import LIMITS, Limits
from .models.description import AgeGroup, Description, check_template

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from .animation import Animation
    from .inference.gpu import GpuFramePath

#: The model that comes with the package, and its twin in int8: ``Transformer("int8")``.
WEIGHTS = Path(__file__).parent / "weights" / "lgin.onnx"
INT8_WEIGHTS = WEIGHTS.with_name("lgin-int8.onnx")

# A picture comes back as what it was: an array as an array, a Pillow image as a Pillow image.
ImageT = TypeVar("ImageT", Frame, "Image.Image")


def model_path(model: str | os.PathLike[str] | None) -> Path:
    """The file of a model as ``Transformer`` takes it: a path, "int8", or None for the bundled one."""
    if model is None:
        return WEIGHTS
    path = Path(model)
    return INT8_WEIGHTS if path == Path("int8") and not is_file(path) else path


class Transformer:
    """Makes the faces of a picture younger or older.

    >>> t = lgin_edge.Transformer()
    >>> older = t.age(img, group=3)  # img: [H, W, 3] uint8 RGB, or a Pillow image

    One transformer may be used by several threads at once. It is a context manager; ``close`` frees the models. A forked
    process makes its own: in a child every call raises BackendError.

    Args:
        model: an ``.onnx`` model file, or an engine that ``lgin-edge build`` made of one; the bundled model when not given, and
            "int8" for its twin in 8 bits: smaller, and on some CPUs faster, for pictures that differ by about 50 dB. An
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
        self._origin = ForkGuard("this Transformer")
        if detector is not None and not callable(detector):
            raise InputError(f"detector: expected a function or detectors.YuNet(...), got {shown(detector)}")
        if isinstance(providers, str):
            raise InputError(f"providers: expected names in a list, got {providers!r}")
        self._threads = usable_cores() if threads is None else check_integer("threads", threads, 1, 1024)
        path = model_path(model)
        self._path: CpuFramePath | GpuFramePath | None = open_path(
            path, device=device, providers=providers, threads=self._threads, sha256=sha256, limits=limits
        )
        self._description = self._path.description
        check_template(path, self._description)
        self._detector: Detector | None = detector or CenterFace(threads=self._threads, max_faces=limits.faces)
        self._age_path = AGE_WEIGHTS if age_model is None else Path(age_model)
        self._age_model: AgeModel | None = None
        self._age_lock = threading.Lock()
        self._limits, self._providers = limits, tuple(providers)
        self._local = threading.local()

    @property
    def groups(self) -> tuple[AgeGroup, ...]:
        """The age groups of the model by rising age, each with label, bounds and centre in years."""
        return self._description.groups

    @property
    def description(self) -> Description:
        """What the model file says of itself."""
        return self._description

    def frame_path(self) -> CpuFramePath | GpuFramePath:
        """What cuts, changes and pastes faces. Raises ClosedError after ``close``, BackendError in a forked process."""
        path = self._path
        if path is None:
            raise ClosedError("this Transformer was closed; make a new one")
        self._origin.check()
        return path

    @property
    def last_call(self) -> CallStats:
        """The faces found by this thread's last call, and the time of each of its stages."""
        return cast(CallStats, getattr(self._local, "stats", CallStats()))

    def detect(self, image: Frame | Image.Image, *, color: Color | None = None) -> list[Face]:
        """The faces of a picture, the largest first, in pixels of the picture as it is. Args, errors: as for ``age``."""
        frame, order, _ = to_frame(picture_of(image, self._limits), color)
        with self._call() as (_, stats):
            stats.faces = self._find(frame, order, stats)
        return stats.faces

    @overload
    def age(
        self, image: ImageT, *, group: float | None = ..., years: float | None = ..., faces: Sequence[Face] | None = ...,
        landmarks: ArrayLike | None = ..., strength: float | Sequence[float] = ..., color: Color | None = ...,
        out: Frame | None = ..., stream: int | None = ...,
    ) -> ImageT: ...  # fmt: skip
    @overload
    def age(
        self, image: Any, *, group: float | None = ..., years: float | Sequence[float] | None = ...,
        faces: Sequence[Face] | None = ..., landmarks: ArrayLike | None = ..., strength: float | Sequence[float] = ...,
        color: Color | None = ..., out: Frame | None = ..., stream: int | None = ...,
    ) -> Any: ...  # fmt: skip
    def age(
        self,
        image: Any,
        *,
        group: float | None = None,
        years: float | Sequence[float] | None = None,
        faces: Sequence[Face] | None = None,
        landmarks: ArrayLike | None = None,
        strength: float | Sequence[float] = 1.0,
        color: Color | None = None,
        out: Frame | None = None,
        stream: int | None = None,
    ) -> Any:
        """The picture with its faces at another age. Bytes outside the views of the faces (``description.face_box``) stay as they are.

        Args:
            image: a path, a list of pictures, or one: uint8 array, [H, W, 3] RGB by default, or a Pillow image. Modes L, LA,
                RGB and RGBA come back as they were, others as RGB or RGBA. EXIF orientation is not applied: turn a
                photograph upright first (``PIL.ImageOps.exif_transpose``). Or, with a transformer on a GPU, an array on
                that GPU by ``__cuda_array_interface__`` (CuPy, PyTorch) or DLPack: changed in place, in the order of
                ``stream``, without waiting for it, and given back. To find faces it is copied down, so give
                ``faces`` or ``landmarks`` where time counts.
            group: index into ``groups``, 0 to K - 1; 3.5 is half way between groups 3 and 4.
            years: or an age in years, 0 to 130. Exactly one of the two. Several ages give a list of pictures, and each face is
                encoded once.
            faces: the faces to change, from ``detect``; all that are found when not given.
            landmarks: or their landmarks, [5, 2] or [N, 5, 2] (x, y) in pixels, ordered as
                ``geometry.LANDMARK_NAMES``: no face is searched.
            strength: how much of the change is made, 0 (none) to 1; one number, or one for each face: to fade faces in and
                out. It weakens the edits; an age in between is ``group`` or ``years``.
            color: channel order of an array: "rgb", "bgr", "rgba", "bgra" or "nv12" ([H * 3/2, W]). By default "rgb" for
                three channels, "rgba" for four. Alpha is kept.
            out: for arrays: where the result goes, of the same shape; ``out=image`` changes the picture in place.
            stream: of an array on the GPU: handle of the CUDA stream that it is made and used on. When not given, what the array
                names (CuPy, Numba), PyTorch's current one, else the default one.

        Returns:
            A new picture of the same type (of a path a Pillow image, upright), or ``out``. Without a face an unchanged copy,
            and ``last_call.faces`` is empty.

        Warns:
            AgeRangeWarning: an age beyond the centres of the first and the last group; the nearest centre is used.

        Raises:
            InputError: an argument has the wrong type, shape, dtype or value.
            ImageError: a path cannot be read.
            BackendError: the run time failed.
            ModelError: the model gave NaN or infinite values.
            ClosedError: after ``close``.
        """
        if isinstance(image, list):
            if faces is not None or landmarks is not None or out is not None:
                raise InputError("faces, landmarks and out belong to one picture; give the pictures one by one")
            return [self.age(one, group=group, years=years, strength=strength, color=color) for one in image]
        image, given = picture_of(image, self._limits), given_faces(faces, landmarks)
        on_device = not isinstance(image, np.ndarray) and is_on_device(image)
        if stream is not None and not on_device:
            raise InputError("stream: belongs to a frame on the GPU, and this one is in the host's memory")
        several: Any = years
        if isinstance(years, (list, tuple, range)) or np.ndim(several):
            if group is not None or out is not None or not len(several):
                raise InputError("years: a list of one or more ages goes with neither group= nor out=")
            codes = np.stack([code_of(self._description, None, one) for one in several])
            return self._change(image, codes, given, strength, color, None)
        code = code_of(self._description, group, years)
        if on_device:
            if out is not None:
                raise InputError("out: a frame on the device is changed in place; copy it first to keep it")
            path = self.frame_path()
            if isinstance(path, CpuFramePath):
                raise InputError("image: lies on a GPU, and this Transformer works on the CPU; make it with device=0")
            frame = device_frame(image, color, stream)
            with self._call() as (_, stats):
                stats.faces = self._find(path.download(frame), frame.pixel_format, stats) if given is None else given
                changing = placed(stats.faces, strength)
                if len(changing):
                    path.change_on_device(frame, changing, code, stats.stage)
            return image
        return self._change(image, code[None], given, strength, color, out)[0]

    def timeline(
        self,
        image: ImageT,
        *,
        faces: Sequence[Face] | None = None,
        landmarks: ArrayLike | None = None,
        color: Color | None = None,
    ) -> list[ImageT]:
        """The picture at each of the K age groups, by rising age. Each face is encoded once. Args, errors: as for ``age``."""
        codes, given = np.eye(len(self.groups), dtype=np.float32), given_faces(faces, landmarks)
        return self._change(picture_of(image, self._limits), codes, given, 1.0, color, None)

    def strip(self, image: Any, *, faces: Sequence[Face] | None = None) -> Image.Image:
        """A labelled strip to look at, one row a face: as it is, and at every age group. A notebook shows it.

        ``image`` is a path, a Pillow image, or an array [H, W, 3] in RGB. Raises InputError without a face; or as ``age``.
        """
        from .contact_sheet import timeline_strip

        image = picture_of(image, self._limits)
        chosen = self.detect(image) if faces is None else given_faces(faces, None)
        if not chosen:
            raise InputError("image: no face was found in it, and a strip shows faces")
        return timeline_strip(self, image, chosen)

    def animate(
        self,
        image: Any,
        start: float | None = None,
        end: float | None = None,
        seconds: float = 3.0,
        *,
        fps: float = 20.0,
        side: int | None = 720,
        faces: Sequence[Face] | None = None,
    ) -> Animation:
        """A clip of the picture through the ages: ``animate(picture).boomerang().save("clip.mp4")``, or .gif, .webp, .webm.

        Args:
            image: a path, a Pillow image, or an array [H, W, 3] in RGB.
            start, end: ages in years, 0 to 130; the youngest and the oldest that the model reaches when not given.
            seconds: from the one to the other, 0.1 to 60; both stay half a second longer.
            fps: frames per second, 1 to 60; each has its own age.
            side: a larger picture is reduced to this many pixels on its longer side; None keeps it.

        Raises InputError: there is no face in the picture, or an argument is out of range; warns and raises as ``age``.
        """
        from .animation import animate

        about = self._description
        ends = [about.groups[0].center if start is None else start, about.groups[-1].center if end is None else end]
        for one in ends:
            code_of(self._description, None, one)  # warns of one that the model does not reach
        first, last = map(about.used_years, ends)
        return animate(self, picture_of(image, self._limits), first, last, seconds, fps, side, given_faces(faces, None))

    def age_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        group: float | None = None,
        years: float | None = None,
        overwrite: bool = False,
    ) -> int:
        """A picture from file to file, as ``lgin-edge age`` does it: upright, its metadata and colour profile kept.

        Args:
            target: another file, .jpg, .png, .webp, .tif or .bmp; written whole or not at all.
            overwrite: False refuses a ``target`` that exists.

        Returns: The number of its faces. Without a face nothing is written.
        Raises ImageError: a file cannot be read or written; or as ``age``.
        """
        from .jobs import Job, age_file, check

        self._description.age_code(group=group, years=years)  # exactly one, and within bounds
        job = Job(Path(source), Path(target))
        check([job])
        return age_file(self, job, group=group, years=years, overwrite=overwrite, limits=self._limits)

    def estimate_age(
        self,
        image: Frame | Image.Image,
        *,
        faces: Sequence[Face] | None = None,
        landmarks: ArrayLike | None = None,
        color: Color | None = None,
    ) -> list[AgeEstimate]:
        """How old the faces of a picture look, by the age model. Its first call loads that model.

        A rough estimate, not a measurement: it lies between the centres of the first and the last age group (20 and 80 in
        the bundled model) and leans to the middle; children and the very old come out wrong by decades.

        Args, errors: as for ``age``, and ModelError: the age model is missing, damaged, or a model of another kind.

        Returns: One estimate a face, in the order of ``last_call.faces``; none where there is no face.
        """
        frame, order, _ = to_frame(picture_of(image, self._limits), color)
        given = given_faces(faces, landmarks)
        with self._age_lock:
            self.frame_path()  # raises after ``close``
            model = self._age_model = self._age_model or AgeModel(
                self._age_path, providers=self._providers, threads=self._threads, limits=self._limits
            )
        with self._call() as (_, stats):
            stats.faces = self._find(frame, order, stats) if given is None else given
            return model.estimate(frame, order, stats.faces, stats.stage)

    def close(self) -> None:
        """Free the models once no call is running; every later call raises ClosedError.

        Raises BackendError: a GPU did not free everything, as when it was lost; it is closed all the same.
        """
        path, self._path, self._detector = self._path, None, None
        if not self._origin.same_process:
            return  # the models are the parent's, and so may be the locks
        try:
            if path is not None:
                path.close()
        finally:
            with self._age_lock:  # after a thread that loads the age model just now; a later one finds no path
                if self._age_model is not None:
                    self._age_model.close()
                self._age_model = None

    def warm_up(self, image: Any = None, *, faces: int = 1, color: Color | None = None) -> None:
        """Load and prepare what the first call would, so that it is as quick as the others: model, detector, age model and GPU.

        A GPU is prepared for frames like ``image``, which stays as it is (256 x 256 in RGB when not given), with ``faces`` faces
        that are apart from one another. Args, errors: as for ``age``.
        """
        blank = np.full((256, 256, 3), 128, np.uint8)
        self.detect(blank)
        check_integer("faces", faces, 1, self._limits.faces)
        image = blank if image is None else picture_of(image, self._limits)
        # Kernels run for a face outside the frame too, and change nothing: a frame on a GPU would be changed in place.
        landmarks = np.stack([geometry.TEMPLATE - 1e4] * faces)
        if isinstance(image, np.ndarray) or not is_on_device(image):
            frame, order, _ = to_frame(image, color)
            landmarks[0] = geometry.TEMPLATE * max(order.size(frame))  # as much memory as a face can need
        for _ in range(2):  # the second call of a shape records a GPU's graph
            self.age(image, group=0, landmarks=landmarks, color=color)
        self.estimate_age(blank, landmarks=geometry.TEMPLATE * 256)

    def __repr__(self) -> str:
        path, about = self._path, self._description
        where = "closed" if path is None else "cpu" if isinstance(path, CpuFramePath) else f"cuda:{path.device}"
        years = f"{about.groups[0].center:g} to {about.groups[-1].center:g} years"
        return f"<lgin_edge.Transformer {about.model}, {where}, {years}>"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise not_copied("a Transformer")

    def __enter__(self) -> Self:
        self.frame_path()  # raises after ``close``
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except BackendError:
            if kind is None:  # otherwise what went wrong first is raised
                raise

    @contextmanager
    def _call(self) -> Iterator[tuple[CpuFramePath | GpuFramePath, CallStats]]:
        """A call of this thread, timed: the frame path, and what becomes ``last_call``."""
        path = self.frame_path()
        stats = self._local.stats = CallStats()
        with stats.stage("total"):
            yield path, stats

    def _find(self, frame: Frame, pixel_format: PixelFormat, stats: CallStats) -> list[Face]:
        detector = self._detector
        if detector is None:
            raise ClosedError("this Transformer was closed; make a new one")
        with stats.stage("detect"):
            found = detector(frame, pixel_format.value)
        return found[: self._limits.faces]

    def _change(
        self,
        image: ImageT,
        codes: NDArray[np.float32],  # [G, K], the ages
        given: list[Face] | None,
        strength: float | Sequence[float],
        color: Color | None,
        out: Frame | None,
    ) -> list[ImageT]:
        frame, order, restore = to_frame(image, color)
        with self._call() as (path, stats):
            stats.faces = self._find(frame, order, stats) if given is None else given
            changing = placed(stats.faces, strength)
            source, results = targets(image, frame, out, len(codes))
            if len(changing):
                path.change(source, order, changing, codes, results, stats.stage)
        return [cast(ImageT, restore(result)) for result in results]
