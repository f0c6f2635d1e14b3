"""Image files, on disk or in memory: upright pixels in, the same kind of file with the same metadata out.

Everything here needs Pillow, which is imported when a file or a Pillow image is first met.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ImageError
from .limits import LIMITS, Limits

if TYPE_CHECKING:
    from PIL import Image

#: What is read. Pillow knows more, but a folder of photographs needs no PostScript interpreter.
READABLE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
#: What is written, by the name's ending.
WRITABLE = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
#: Endings of the files that are looked at in a folder.
SUFFIXES = (*WRITABLE, ".avif", ".gif", ".ppm", ".jp2")

# Tags of a TIFF that describe the picture; the others describe how the file is laid out.
_TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432)
_ORIENTATION = 0x0112
_PNG_XMP = "XML:com.adobe.xmp"


@dataclass(frozen=True)
class Picture:
    """A picture out of a file.

    Attributes:
        image: upright, mode L, LA, RGB or RGBA.
        metadata: what Pillow's ``save`` takes: exif (orientation reset, no thumbnail: it would show the old face),
            icc_profile, dpi, xmp, comment, and the text of a PNG.
        jpeg: of a JPEG its quantisation tables and chroma subsampling: written with the same ones, what is not touched
            changes least.
        format: the file's, one of ``READABLE``.
    """

    image: Image.Image
    metadata: dict[str, Any] = field(default_factory=dict)
    jpeg: dict[str, Any] = field(default_factory=dict)
    format: str = ""


def read(path: str | os.PathLike[str], *, limits: Limits = LIMITS) -> Picture:
    """Read an image file: upright (the EXIF orientation is applied), 8 bits a channel.

    Palettes become RGB or RGBA, 16-bit channels keep their upper 8 bits, and CMYK becomes sRGB through its colour profile.

    Raises:
        ImageError: missing, a folder, not an image, damaged or cut off, an animation, or larger than ``limits`` allow.
    """
    path = Path(path)
    with _explained(path):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ImageError(
                f"{path}: expected an image file, got a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}"
            )
        _check_bytes(path, path.stat().st_size, limits)
    return _read(path, path, limits, READABLE)


def decode(
    data: bytes, name: str = "the picture", *, limits: Limits = LIMITS, formats: Sequence[str] = READABLE
) -> Picture:
    """An image file that lies in memory, as ``read`` reads one.

    Args:
        name: what errors call it.
        formats: which of ``READABLE`` are taken.

    Raises:
        ImageError: as ``read``.
    """
    _check_bytes(name, len(data), limits)
    return _read(io.BytesIO(data), name, limits, formats)


def _check_bytes(name: Path | str, size: int, limits: Limits) -> None:
    if size > limits.image_bytes:
        raise ImageError(
            f"{name}: {size} bytes; at most {limits.image_bytes} are read (Limits.image_bytes): reduce it first"
        )


def _read(source: Path | io.BytesIO, name: Path | str, limits: Limits, formats: Sequence[str]) -> Picture:
    with _explained(name, formats), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF, large pictures: what matters is checked here
        from PIL import Image, ImageOps

        with Image.open(source, formats=tuple(formats)) as file:
            width, height = file.size
            if width * height > limits.image_pixels:
                raise ImageError(
                    f"{name}: {width} x {height} pixels; at most {limits.image_pixels / 1e6:.3g} million are read "
                    "(Limits.image_pixels): reduce it first"
                )
            frames = getattr(file, "n_frames", 1)
            if frames > 1 and file.format != "MPO":  # a phone's MPO holds the photograph first, then its depth map
                raise ImageError(
                    f"{name}: expected one picture, got {frames} (an animation or pages): extract one first"
                )
            file.load()
            jpeg = _jpeg_settings(file)
            turned = False
            try:
                exif = file.getexif()
                turned = exif.get(_ORIENTATION, 1) in range(2, 9)
                image = ImageOps.exif_transpose(file)
            except Exception:  # noqa: BLE001 - damaged EXIF fails in many ways; the picture is still a picture
                image = file.copy()
            if turned and jpeg.get("subsampling") == 1:
                jpeg["subsampling"] = 0  # 4:2:2 halves the columns, which the turn has made rows
            plain = to_plain(image)
            metadata = _metadata(file, image)
            if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
                metadata.pop("icc_profile", None)  # it describes the old colours
            return Picture(plain, metadata, jpeg, "JPEG" if file.format == "MPO" else str(file.format))


def write(
    path: str | os.PathLike[str],
    image: Image.Image,
    source: Picture | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write an image file whole or not at all, in the format that its name asks for.

    JPEG from a JPEG ``source``: with the source's quality; else JPEG and WebP at quality 95. JPEG and BMP hold no
    transparency: it is laid over white.

    Args:
        path: the file; its folder must exist.
        image: mode L, LA, RGB or RGBA.
        source: where the picture came from: its metadata goes along.
        overwrite: False refuses a path that exists.

    Raises:
        ImageError: unknown ending, the file exists, or it cannot be written.
    """
    path = Path(path)
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"{path}: the ending {path.suffix!r} is not one that is written: {', '.join(WRITABLE)}")
    if path.exists() and not overwrite:
        raise ImageError(f"{path}: exists already; choose another name or allow overwriting")
    # In the same folder, so that the replacement is one step; the mode of a new file, which mkstemp would not give.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _explained(path):
        data = _encoded(image, kind, source)
        try:
            with temporary.open("xb") as file:
                file.write(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def encode(image: Image.Image, kind: str, source: Picture | None = None) -> bytes:
    """An image file in memory, as ``write`` writes one; ``kind`` is one of ``WRITABLE``'s values. Raises ImageError."""
    with _explained("the picture"):
        return _encoded(image, kind, source)


def _encoded(image: Image.Image, kind: str, source: Picture | None) -> bytes:
    """Always in memory first: on a full disk Pillow cuts a JPEG or BMP short that it writes into a file, and says nothing."""
    image, options = _to_save(image, kind, source)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _to_save(image: Image.Image, kind: str, source: Picture | None) -> tuple[Image.Image, dict[str, Any]]:
    """The picture as a format can hold it, and what Pillow's ``save`` is to be told."""
    options = dict(source.metadata) if source else {}
    text = options.pop("text", None)
    if kind == "JPEG":
        same = source is not None and bool(source.jpeg) and source.image.mode == image.mode
        options |= source.jpeg if same and source else {"quality": 95, "subsampling": 0}
    elif kind == "PNG":
        options["pnginfo"] = _png_text(text or {}, options.pop("xmp", b""))
    elif kind == "WEBP":
        options["quality"] = 95
    elif kind == "TIFF":
        options["compression"] = "tiff_lzw"
    if kind in ("JPEG", "BMP") and image.mode in ("LA", "RGBA"):
        image = _over_white(image)
    return image, options


def to_plain(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit L, LA, RGB or RGBA, whichever loses least; itself if it is one already.

    Raises:
        ImageError: floating-point pixels, whose range nobody knows.
    """
    mode = image.mode
    transparent = "transparency" in image.info
    if mode in ("LA", "RGBA") or (mode in ("L", "RGB") and not transparent):
        return image
    if mode == "F":
        raise ImageError(
            "expected 8 or 16 bits a channel, got floating-point pixels (mode F): scale them to 8 bits first"
        )
    if mode.startswith("I"):
        import numpy as np
        from PIL import Image

        return Image.fromarray(np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8))
    if mode == "CMYK" and image.info.get("icc_profile"):
        converted = _cmyk_to_srgb(image)
        if converted is not None:
            return converted
    if mode in ("PA", "RGBa", "La") or transparent:
        return image.convert("RGBA")
    return image.convert("L" if mode == "1" else "RGB")


def _cmyk_to_srgb(image: Image.Image) -> Image.Image | None:
    """Through the picture's colour profile; None if the profile is of no use."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _over_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("L" if image.mode == "LA" else "RGB")


def _jpeg_settings(file: Any) -> dict[str, Any]:
    """Quantisation tables and chroma subsampling of an opened JPEG, as ``save`` takes them."""
    if file.format not in ("JPEG", "MPO") or file.mode not in ("L", "RGB"):
        return {}
    from PIL import JpegImagePlugin

    settings = {"qtables": file.quantization, "progressive": bool(file.info.get("progressive"))}
    sampling = JpegImagePlugin.get_sampling(file)
    return settings | {"subsampling": max(0, sampling)}


def _metadata(file: Any, image: Image.Image) -> dict[str, Any]:
    """What is kept of ``file``'s metadata, upright like ``image``."""
    kept = {key: image.info[key] for key in ("icc_profile", "dpi", "comment") if image.info.get(key)}
    xmp = image.info.get("xmp") or image.info.get(_PNG_XMP)
    if xmp:
        kept["xmp"] = xmp.encode() if isinstance(xmp, str) else xmp
    try:
        exif = image.getexif()
        if file.format == "TIFF":  # here the tags are the file's own, and Pillow drops them when it turns the picture
            exif = type(exif)()
            for tag in set(_TIFF_TAGS) & set(file.tag_v2):
                exif[tag] = file.tag_v2[tag]
        if len(exif):
            exif[_ORIENTATION] = 1
            kept["exif"] = exif.tobytes()
    except Exception:  # noqa: BLE001 - damaged EXIF fails in many ways; it cannot be kept
        kept.pop("exif", None)
    if file.format == "PNG":
        kept["text"] = {key: str(value) for key, value in file.text.items() if key != _PNG_XMP}
    return kept


def _png_text(text: dict[str, str], xmp: bytes) -> Any:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_itxt(key, value)
    if xmp:
        info.add_itxt(_PNG_XMP, xmp.decode("utf-8", "replace"))
    return info


@contextmanager
def _explained(path: Path | str, formats: Sequence[str] = READABLE) -> Iterator[None]:
    """Turn whatever Pillow and the file system raise into an ImageError that names the file."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file or folder") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission ({error.strerror})") from error
    except MemoryError as error:
        raise ImageError(f"{path}: not enough memory for this picture: reduce it first") from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        from PIL import Image, UnidentifiedImageError

        if isinstance(error, UnidentifiedImageError):
            kinds = ", ".join(formats)
            raise ImageError(f"{path}: not an image that can be read; expected one of {kinds}") from error
        if isinstance(error, Image.DecompressionBombError):
            raise ImageError(f"{path}: too large to be a photograph ({error}): reduce it first") from error
        raise ImageError(f"{path}: {str(error) or type(error).__name__}") from error
