"""Content Credentials of what visitors take away, with a certificate of this test's own; c2pa-python itself checks them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.kiosk_server import Image8, Visitor, encoded, serving

from lgin_edge import BackendError, InputError, Transformer
from lgin_edge.kiosk import state
from lgin_edge.kiosk.credentials import Credentials
from lgin_edge.kiosk.settings import Settings
from lgin_edge.provenance import SOURCE_TYPE


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificates and key, as docs/kiosk.md makes them."""
    pytest.importorskip("c2pa", reason="needs c2pa-python: pip install 'lgin-edge[c2pa]'")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes the certificate")
    folder = tmp_path_factory.mktemp("c2pa")
    page = (Path(__file__).parents[2] / "docs" / "kiosk.md").read_text()
    (commands,) = (block for block in page.split("```") if "kiosk-c2pa.pem" in block and block.startswith("sh"))
    subprocess.run(["sh", "-ec", commands.removeprefix("sh")], cwd=folder, check=True, capture_output=True)
    return folder / "kiosk-c2pa.pem", folder / "kiosk-c2pa-key.pem"


def test_what_is_taken_away_is_signed(
    pair: tuple[Path, Path], tiny: Transformer, astronaut: Image8, monkeypatch: pytest.MonkeyPatch
) -> None:
    import c2pa

    monkeypatch.setattr(state, "_CLIP_FPS", 1)
    with serving(tiny, Settings(credentials=Credentials(*pair))) as server, Visitor(server.url) as visitor:
        visitor.start().be_seen(encoded(astronaut))
        for kind, suffix, media_type in (("still", "jpg", "image/jpeg"), ("clip", "gif", "image/gif")):
            visitor.say(type=kind)
            token = visitor.hear()[0]["token"]
            data = httpx.get(f"{server.url}/stills/{token}.{suffix}", trust_env=False).content

            def report(data: bytes, media_type: str = media_type) -> dict:
                with c2pa.Reader(media_type, io.BytesIO(data)) as reader:
                    return json.loads(reader.json())

            told = report(data)
            assert told["validation_state"] == "Valid"
            assert [one["code"] for one in told["validation_status"]] == ["signingCredential.untrusted"]
            assert f'"digitalSourceType": "{SOURCE_TYPE}"' in json.dumps(told)
            assert (
                SOURCE_TYPE.encode() in data.partition(b"c2pa")[0] + data.rpartition(b"c2pa")[2]
            )  # IPTC's is there, too
            touched = bytearray(data)
            touched[-100] ^= 1
            assert report(bytes(touched))["validation_state"] == "Invalid"


def test_wrong_files(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert Credentials(*pair).signed(b"no picture", "image/jpeg") == b"no picture"
    assert "was not signed" in caplog.text
    with pytest.raises(InputError, match="no certificates and key that C2PA signs with"):
        Credentials(pair[1], pair[0])
    with pytest.raises(InputError, match="No such file"):
        Credentials(tmp_path / "none.pem", pair[1])
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(BackendError, match="lgin-edge\\[c2pa\\]"):
        Credentials(*pair)
