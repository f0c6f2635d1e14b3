"""Content Credentials (C2PA): a signature in what visitors take away that says who made it, and that it was changed by AI."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

from PIL import Image

from .. import __version__
from ..errors import BackendError, InputError
from ..provenance import SOURCE_TYPE

_log = logging.getLogger(__name__)

_MANIFEST = {
    "claim_generator_info": [{"name": "lgin-edge kiosk", "version": __version__}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
        }
    ],
}


class Credentials:
    """A certificate that pictures and clips are signed with. Nobody is asked for the time: nothing leaves the machine.

    Args:
        certificates: PEM file, that of the kiosk first, then those above it.
        key: PEM file of its private key, on the curve P-256.

    Raises:
        InputError: the files cannot be read, or C2PA does not take them.
        BackendError: c2pa-python is missing.
    """

    def __init__(self, certificates: Path, key: Path) -> None:
        try:
            import c2pa
        except ModuleNotFoundError as error:
            raise BackendError("signing needs c2pa-python: pip install 'lgin-edge[c2pa]'") from error
        self._c2pa: Any = c2pa
        try:
            self._pair = certificates.read_bytes(), key.read_bytes()
            small = io.BytesIO()
            Image.new("RGB", (8, 8)).save(small, "JPEG")
            self._sign(small.getvalue(), "image/jpeg")
        except (OSError, c2pa.C2paError) as error:
            raise InputError(f"{certificates}, {key}: no certificates and key that C2PA signs with: {error}") from error

    def signed(self, data: bytes, media_type: str) -> bytes:
        """The file with its signature; without one where that fails, as with a certificate that has run out, and the log says so.
        In any thread."""
        try:
            return self._sign(data, media_type)
        except self._c2pa.C2paError as error:
            _log.error("what a visitor took was not signed: %s", error)
            return data

    def _sign(self, data: bytes, media_type: str) -> bytes:
        c2pa, file = self._c2pa, io.BytesIO()
        info = c2pa.C2paSignerInfo(b"es256", *self._pair, None)
        settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        with c2pa.Context(settings) as context, c2pa.Builder(_MANIFEST, context) as builder:
            builder.sign(c2pa.Signer.from_info(info), media_type, io.BytesIO(data), file)
        return file.getvalue()
