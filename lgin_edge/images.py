"""Image files, on disk or in memory: upright pixels in, the same kind of file with the same metadata out.

Everything here needs Pillow, which is imported when a file or a Pillow image is first met.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import image_exif, provenance
from .errors import ImageError, raised_by_caller
from .files import exists, write_files
from .image_checks import check_cost, without_long_texts
from .image_metadata import jpeg_metadata, kept_metadata, png_text, tiff_metadata, use_utf8_xmp, with_tables
from .limits import LIMITS, Limits

if TYPE_CHECKING:
    from PIL import Image

#: What is read. Pillow knows more, but a folder of photographs needs no PostScript interpreter.
READABLE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "HEIF")
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
#: Endings of the files that are looked at in a folder; the first of them need another package.
HEIF_SUFFIXES = (".heic", ".heif")
SUFFIXES = (*WRITABLE, ".jfif", ".jpe", ".avif", ".gif", ".ppm", ".pgm", ".jp2", *HEIF_SUFFIXES)
#: Endings of pictures that are not read. They are named, so that nothing is left out unsaid.
UNREAD = (
    ".cr2",
    ".cr3",
    ".dng",
    ".nef",
    ".arw",
    ".orf",
    ".rw2",
    ".raf",
    ".psd",
    ".jxl",
    ".tga",
    ".pcx",
    ".xcf",
    ".ico",
)

_BITS_PER_SAMPLE = 258
#: Characters of a path, as file systems take them.
_MAX_PATH = 4096
#: What people take for a path: addresses, and pictures in base64 as pages have them.
_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|file)://|data:", re.IGNORECASE)
#: By EXIF's orientation, how Pillow turns a picture upright (``Image.Transpose``).
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


@dataclass(frozen=True)
class Picture:
    """A picture out of a file."""

    image: Image.Image  #: Upright, mode L, LA, RGB or RGBA.
    #: What Pillow's ``save`` takes: exif (orientation reset, no thumbnail: it would show the old face), icc_profile, dpi, xmp,
    #: comment, the text of a PNG, and iptc, which it does not take.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Of a JPEG its quantisation tables and chroma subsampling: written with the same ones, what is not touched changes least.
    jpeg: dict[str, Any] = field(default_factory=dict)
    format: str = ""  #: The file's, one of ``READABLE``.


def read(path: str | os.PathLike[str], *, limits: Limits = LIMITS) -> Picture:
    """Read an image file: upright (the EXIF orientation is applied), 8 bits a channel.

    Palettes become RGB or RGBA, 16-bit channels keep their upper 8 bits, and CMYK becomes sRGB through its colour profile.

    Raises ImageError: missing, a folder, not an image, damaged or cut off, an animation, or larger than ``limits`` allow.
    """
    return decode(file_bytes(path, limits=limits), str(Path(path)), limits=limits)


def file_bytes(path: str | os.PathLike[str], *, limits: Limits = LIMITS) -> bytes:
    """An image file, not decoded. Raises ImageError: missing, a folder, or larger than ``limits`` allow."""
    text = os.fspath(path)
    if _ADDRESS.match(text) and not exists(path):
        raise ImageError(f"{text[:80]}: an address, and only files are read: fetch it first")
    if len(text) > _MAX_PATH:
        raise ImageError(f"{text[:80]}...: expected a path, got {len(text)} characters")
    path = Path(path)
    with _explained(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                f"{path}: expected an image file, got a {'folder' if stat.S_ISDIR(status.st_mode) else 'device or pipe'}"
            )
        _check_bytes(path, status.st_size, limits)
        return path.read_bytes()


def decode(
    data: bytes, name: str = "the picture", *, limits: Limits = LIMITS, formats: Sequence[str] = READABLE
) -> Picture:
    """An image file that lies in memory, as ``read`` reads one.

    Args:
        name: what errors call it.
        formats: which of ``READABLE`` are taken.

    Raises ImageError: as ``read``.
    """
    _check_bytes(name, len(data), limits)
    with _explained(name, formats):
        check_cost(name, data, limits.image_pixels)
        shown = image_exif.hide(without_long_texts(data))
        file = _load(shown, _open(shown, name, limits, formats))
        image_exif.restore(file, data)
        use_utf8_xmp(file)
        jpeg = _jpeg_settings(file)
        orientation = image_exif.orientation(file)
        if orientation > 1 and jpeg.get("subsampling") == 1:
            jpeg["subsampling"] = 0  # 4:2:2 halves the columns, which the turn has made rows
        image = file.copy() if orientation == 1 else file.transpose(_TURNS[orientation])
        plain = to_plain(image, _grey_bits(file))
        metadata = kept_metadata(file, image, plain.mode)
        for key in ("exif", "xmp"):  # which would say once more how it is to be turned
            plain.info.pop(key, None)
        plain.info |= {key: metadata[key] for key in ("exif", "xmp") if key in metadata}
        return Picture(plain, metadata, jpeg, str(file.format))


def size(
    data: bytes, name: str = "the picture", *, limits: Limits = LIMITS, formats: Sequence[str] = READABLE
) -> tuple[int, int]:
    """Width and height that the header of an image file in memory tells, before it is turned upright; no pixel is decoded.

    Args: as for ``decode``. Raises ImageError: no image, an animation, or larger than ``limits`` allow.
    """
    _check_bytes(name, len(data), limits)
    with _explained(name, formats):
        check_cost(name, data, limits.image_pixels)
        width, height = _open(image_exif.hide(without_long_texts(data)), name, limits, formats).size
        return width, height


def _check_bytes(name: Path | str, size: int, limits: Limits) -> None:
    if size > limits.image_bytes:
        raise ImageError(
            f"{name}: {size} bytes; at most {limits.image_bytes} are read (Limits.image_bytes): reduce it first"
        )


def _open(data: bytes, name: Path | str, limits: Limits, formats: Sequence[str]) -> Any:
    """The file, no pixel of it decoded."""
    from PIL import Image

    Image.init()  # of AVIF Pillow knows from 11.3 on, and it fails on a name that it does not know
    known = [kind for kind in formats if kind != "HEIF" and kind in Image.OPEN]
    if "HEIF" in formats and data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        _register_heif(name)
        known.append("HEIF")
    file = _identified(data, known)
    width, height = file.size
    if width * height > limits.image_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels; at most {limits.image_pixels / 1e6:.3g} million are read "
            "(Limits.image_pixels): reduce it first"
        )
    # Of a GIF and a TIFF check_cost has counted them; Pillow takes a time that grows with their square.
    frames = 1 if file.format in ("GIF", "TIFF") else getattr(file, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{name}: expected one picture, got {frames} (an animation or pages): extract one first")
    return file


def _identified(data: bytes, kinds: Iterable[str]) -> Any:
    """As Pillow's ``open``, but for its limit of pixels, which is one for the whole program."""
    from PIL import Image, UnidentifiedImageError

    for kind in kinds:
        factory, accepts = Image.OPEN[kind]
        accepted = accepts is None or accepts(data[:16])
        if accepted and not isinstance(accepted, str):  # which says what would have to be installed
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # which mean that it is of another kind
                return factory(io.BytesIO(data), "")
    raise UnidentifiedImageError


def _load(data: bytes, file: Any) -> Any:
    """The file with its pixels; of a JPEG that lacks nothing but its end, too."""
    use_utf8_xmp(file)
    try:
        file.load()
    except OSError as error:
        whole = _completed(data, file.format) if "truncated" in str(error) else None
        if whole is None:
            raise
        return whole
    return file


def _completed(data: bytes, kind: str) -> Any:
    """A JPEG that lacks its end marker alone; None if pixels are missing.

    What follows the coded data decides only pixels that are missing: with two other tails the picture is the same.
    """
    if kind != "JPEG":
        return None
    found = []
    for tail in (b"\0" * 64, b"\x55" * 64):
        file = _identified(data + tail + b"\xff\xd9", ("JPEG",))
        file.load()
        found.append(file)
    return found[0] if found[0].tobytes() == found[1].tobytes() else None


def _register_heif(name: Path | str) -> None:
    try:
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ImageError(f"{name}: HEIF and HEIC are read with pip install pillow-heif, or save it as JPEG") from error
    pillow_heif.register_heif_opener()


def _grey_bits(file: Any) -> int:
    """Bits of a grey channel of more than 8, as the file says."""
    if file.format == "TIFF":
        bits = file.tag_v2.get(_BITS_PER_SAMPLE, (16,))
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 16


def write(
    path: str | os.PathLike[str],
    image: Image.Image,
    source: Picture | None = None,
    *,
    overwrite: bool = False,
    changed: bool = True,
) -> None:
    """Write an image file whole or not at all, in the format that its name asks for.

    JPEG from a JPEG ``source``: with the source's quality; else JPEG and WebP at quality 95. JPEG and BMP hold no
    transparency: it is laid over white.

    Args:
        path: the file; its folder must exist.
        image: mode L, LA, RGB or RGBA.
        source: where the picture came from: its metadata goes along.
        overwrite: False refuses a path that exists.
        changed: its metadata says that it was changed by AI, as IPTC's digital source type does (not in a BMP).

    Raises ImageError: unknown ending, the file exists, or it cannot be written.
    """
    path = Path(path)
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"{path}: the ending {path.suffix!r} is not one that is written: {', '.join(WRITABLE)}")
    if exists(path) and not overwrite:
        raise ImageError(f"{path}: exists already; choose another name or allow overwriting")
    with _explained(path):
        write_files({path: _encoded(image, kind, source, changed)})


def encode(image: Image.Image, kind: str, source: Picture | None = None, *, changed: bool = True) -> bytes:
    """An image file in memory, as ``write`` writes one; ``kind`` is one of ``WRITABLE``'s values. Raises ImageError."""
    with _explained("the picture"):
        return _encoded(image, kind, source, changed)


def _encoded(image: Image.Image, kind: str, source: Picture | None, changed: bool) -> bytes:
    """Always in memory first: on a full disk Pillow cuts a JPEG or BMP short that it writes into a file, and says nothing."""
    image, options = _to_save(image, kind, source, changed)
    tables = options.pop("tables", {})
    file = io.BytesIO()
    image.save(file, kind, **options)
    return with_tables(file.getvalue(), tables) if tables else file.getvalue()


def _to_save(
    image: Image.Image, kind: str, source: Picture | None, changed: bool
) -> tuple[Image.Image, dict[str, Any]]:
    """The picture as a format can hold it, and the options of Pillow's ``save``; of a TIFF "tables", too."""
    options = dict(source.metadata) if source else {}
    text, xmp, iptc = options.pop("text", None), options.pop("xmp", b""), options.pop("iptc", b"")
    xmp = provenance.xmp(xmp) if changed else xmp
    if kind == "JPEG":
        options |= jpeg_metadata(options.pop("exif", b""), options.pop("comment", b""), xmp, iptc)
        same = source is not None and bool(source.jpeg) and source.image.mode == image.mode
        options |= source.jpeg if same and source else {"quality": 95, "subsampling": 0}
    elif kind == "PNG":
        options["pnginfo"] = png_text(text or {}, xmp)
    elif kind == "WEBP":
        options |= {"quality": 95, "xmp": xmp}
    elif kind == "TIFF":
        saved, options["tables"] = tiff_metadata(options.pop("exif", b""), xmp, iptc)
        options |= saved
    if kind in ("JPEG", "BMP") and image.mode in ("LA", "RGBA"):
        image = over_white(image)
    return image, options


def to_plain(image: Image.Image, bits: int | None = None) -> Image.Image:
    """Any Pillow image as 8-bit L, LA, RGB or RGBA, whichever loses least; itself if it is one already.

    Args:
        bits: of a grey channel of more than 8, where a file says it.

    Raises ImageError: floating-point or 32-bit pixels, whose range is not known.
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
        return _grey(image, bits)
    if mode == "CMYK" and image.info.get("icc_profile"):
        converted = _cmyk_to_srgb(image)
        if converted is not None:
            return converted
    if mode == "La":
        return image.convert("LA")
    if mode in ("PA", "RGBa") or transparent:
        return image.convert("RGBA")
    return image.convert("L" if mode == "1" else "RGB")


def _grey(image: Image.Image, bits: int | None) -> Image.Image:
    """Deep grey as 8 bits: as bright as its ``bits`` say."""
    import numpy as np
    from PIL import Image

    if image.mode == "I" and (bits is None or bits > 16):
        raise ImageError(
            "expected 8 or 16 bits a channel, got 32-bit pixels (mode I), whose range is not known: scale them to 8 bits first"
        )
    shift = max(0, (16 if bits is None else bits) - 8)
    return Image.fromarray(np.clip(np.asarray(image) >> shift, 0, 255).astype(np.uint8))


def _cmyk_to_srgb(image: Image.Image) -> Image.Image | None:
    """Through the picture's colour profile; None if the profile is of no use."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def over_white(image: Image.Image) -> Image.Image:
    """A picture of mode LA or RGBA without transparency, as L or RGB; others as they are."""
    if image.mode not in ("LA", "RGBA"):
        return image
    from PIL import Image

    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("L" if image.mode == "LA" else "RGB")


def _jpeg_settings(file: Any) -> dict[str, Any]:
    """Quantisation tables and chroma subsampling of an opened JPEG, as ``save`` takes them."""
    if file.format != "JPEG" or file.mode not in ("L", "RGB"):
        return {}
    from PIL import JpegImagePlugin

    settings = {"qtables": file.quantization, "progressive": bool(file.info.get("progressive"))}
    sampling = JpegImagePlugin.get_sampling(file)
    return settings | {"subsampling": max(0, sampling)}


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
        if raised_by_caller(error):
            raise
        from PIL import UnidentifiedImageError

        if isinstance(error, UnidentifiedImageError):
            kinds = ", ".join(formats)
            raise ImageError(f"{path}: not an image that can be read; expected one of {kinds}") from error
        raise ImageError(f"{path}: {str(error) or type(error).__name__}") from error
