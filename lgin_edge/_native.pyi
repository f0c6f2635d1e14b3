# Kept by hand; tests/kernels/test_native_stub.py compares it with the built module.
from typing import Final

import numpy as np
import numpy.typing as npt

version: Final[str]
cuda_built: Final[bool]
cuda_is_host: Final[bool]  # LGIN_CUDA=HOST: "device" memory is host memory

def cuda_device_count() -> int: ...

class FacePlan:
    def __init__(
        self,
        affines: npt.NDArray[np.float64],  # [N, 2, 3]
        boxes: npt.NDArray[np.float64],  # [N, 5, 4]
        strengths: npt.NDArray[np.float64],  # [N]
        face_size: int,
        patch_size: int,
        face_taper: float,
        region_taper: float,
        face_box: tuple[float, float, float, float],
        edit_format: int,
        height: int,
        width: int,
        pixel_format: str,
    ) -> None: ...
    @property
    def rectangle(self) -> tuple[int, int, int, int]: ...
    @property
    def disjoint(self) -> bool: ...
    def write_block(
        self,
        block: npt.NDArray[np.uint8],  # [block_size], written
        address: int,
        pitch: int,
        rectangle: tuple[int, ...],
    ) -> None: ...

def region_crop(
    plan: FacePlan,
    frame: npt.NDArray[np.uint8],  # [H, W, C] or [H * 3/2, W]
    face: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 3, S, S], written
    patches: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 5, 3, P, P], written
    threads: int,
    device: int,  # -1 is the CPU, else a CUDA device; the frame is then C-contiguous
) -> None: ...
def region_paste(
    plan: FacePlan,
    frame: npt.NDArray[np.uint8],  # [H, W, C] or [H * 3/2, W], changed in place
    face: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 3, S, S]
    patches: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 5, 3, P, P]
    threads: int,
    device: int,
) -> None: ...
def edit_paste(
    plan: FacePlan,
    frame: npt.NDArray[np.uint8],  # [H, W, C] or [H * 3/2, W], changed in place
    face_edit: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 6, S, S]
    patch_edit: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [N, 5, 4, P, P]
    flow: npt.NDArray[np.float32] | npt.NDArray[np.float16] | None,  # [N, 2, F, F]
    place: npt.NDArray[np.float32] | npt.NDArray[np.float16] | None,  # [N, 2, F, F]
    lines: npt.NDArray[np.float32] | npt.NDArray[np.float16] | None,  # [N, 1, A, A]
    threads: int,
    device: int,
) -> None: ...
def resample(
    frame: npt.NDArray[np.uint8],  # [H, W, C] or [H * 3/2, W]
    pixel_format: str,
    affine: npt.NDArray[np.float64],  # [2, 3]
    view: npt.NDArray[np.float32] | npt.NDArray[np.float16],  # [3, height, width], written
    threads: int,
) -> None: ...
def block_size(pixel_format: str, count: int) -> int: ...
def launch_crop(
    block: int,
    pixel_format: str,
    count: int,
    face: int,
    patches: int,
    face_size: int,
    patch_size: int,
    half: bool,
    device: int,
    stream: int,
) -> None: ...
def launch_paste(
    block: int,
    pixel_format: str,
    count: int,
    first: int,
    faces: int,
    ages: int,
    face_edit: int,
    patch_edit: int,
    face_size: int,
    patch_size: int,
    half: bool,
    pixels: int,
    age_step: int,
    device: int,
    stream: int,
) -> None: ...
def launch_edit_paste(
    block: int,
    pixel_format: str,
    count: int,
    first: int,
    faces: int,
    ages: int,
    face_edit: int,
    patch_edit: int,
    flow: int,
    place: int,
    lines: int,
    face_size: int,
    patch_size: int,
    coarse_size: int,
    line_size: int,
    edit_format: int,
    half: bool,
    pixels: int,
    age_step: int,
    scratch: int,
    coloured: int,
    device: int,
    stream: int,
) -> None: ...
def launch_finite_check(
    values: list[int], sizes: list[int], found: int, half: bool, device: int, stream: int
) -> None: ...
