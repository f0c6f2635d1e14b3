from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from support.kiosk_server import PATIENCE, serving

from lgin_edge import Limits, Transformer
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings


@pytest.fixture(scope="module")
def server(tiny: Transformer) -> Iterator[Server]:
    settings = Settings(
        hosts=("kiosk.example",), requests_per_minute=1e6, uploads=Limits(image_bytes=1_000_000, image_pixels=500_000)
    )
    with serving(tiny, settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        yield http
