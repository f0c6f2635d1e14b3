"""The kiosk's server: its door, limits, pictures to fetch, and what it never does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.kiosk_server import (
    PATIENCE,
    Image8,
    ProcessTree,
    Visitor,
    certificate,
    command,
    encoded,
    serving,
    wait_for,
    whole_visit,
)
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus

from lgin_edge import InputError, Transformer
from lgin_edge.cli import app as cli
from lgin_edge.kiosk import server as server_module
from lgin_edge.kiosk import state
from lgin_edge.kiosk.rate_limit import Full, Places, TokenBucket, TokenBuckets
from lgin_edge.kiosk.serial_executor import SerialExecutor
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings
from lgin_edge.kiosk.snapshots import Snapshots


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_limited(tiny: Transformer, astronaut: Image8) -> None:
    with serving(tiny, Settings(requests_per_minute=6)) as server, httpx.Client(trust_env=False) as http:
        answers = [http.post(f"{server.url}/v1/age?group=1", content=encoded(astronaut)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["error"]["code"] == "too_often"
    assert 1 <= int(answers[1].headers["retry-after"]) <= 10


def test_health_and_metrics(tiny: Transformer, astronaut: Image8) -> None:
    with serving(tiny) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        health = http.get("/healthz").json()
        assert (health["status"], health["visitors"]) == ("ok", 0)
        with Visitor(server.url) as visitor:
            visitor.start().be_seen(encoded(astronaut))
            assert http.get("/healthz").json()["visitors"] == 1
            visitor.say(type="still")
            visitor.hear()
            http.post("/v1/age?group=9", content=b"x")
            told = http.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in told.text.splitlines() if not line.startswith("#"))
    assert float(values["lgin_kiosk_visitors"]) == 1
    shown = visitor.number + 1
    assert float(values["lgin_kiosk_frames_total"]) == shown
    assert float(values['lgin_kiosk_frame_seconds_count{stage="turn"}']) == shown
    assert float(values['lgin_kiosk_pictures_total{kind="picture"}']) == 1
    assert float(values["lgin_kiosk_pictures_kept"]) == 1
    assert float(values['lgin_kiosk_requests_total{status="400"}']) == 1


def test_other_names_and_other_pages_are_refused(server: Server, client: httpx.Client, astronaut: Image8) -> None:
    port = server.url.rsplit(":", 1)[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "kiosk.example", "KIOSK.example:443"):
        assert client.get("/healthz", headers={"host": host}).status_code == 200
    for host in ("evil.example", f"kiosk.example.evil.example:{port}", "", "[", "127.0.0.1.evil.example"):
        answer = client.get("/healthz", headers={"host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["code"] == "host"
    file = encoded(astronaut)
    for origin, status in (
        (server.url, 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        ("http://[", 403),
        (server.url + "@evil.example", 403),
        (server.url.removeprefix("http:"), 403),
    ):
        assert client.post("/v1/age?group=1", content=file, headers={"origin": origin}).status_code == status
    with Visitor(server.url, origin=server.url) as visitor:
        visitor.start()
    with pytest.raises(InvalidStatus, match="403"), Visitor(server.url, origin="https://evil.example"):
        pass
    line = socket.create_connection(("127.0.0.1", int(port)))
    with pytest.raises(InvalidStatus, match="421"), Visitor(f"http://evil.example:{port}", sock=line):
        pass


def test_what_is_no_request_is_answered_like_all_errors(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """In JSON, with the security headers; and the log has no traceback of what visitors send, or of when they leave."""
    handshake = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    live = b"GET /live HTTP/1.1\r\nHost: localhost\r\n" + handshake + b"\r\n"
    for sent, status in (
        (b"GET\r\n\r\n", 400),
        (b"POST /v1/age?group=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n" + handshake + b"\r\n", 404),
        (b"GET /live HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n" + handshake + b"\r\n", 403),
        (live.replace(b"Version: 13", b"Version: 12"), 400),
        (live.replace(b"AAAAAA==", b""), 400),
        (live.replace(b"\r\n\r\n", b"\r\n" + b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n"), 400),
        (live.replace(b"\r\n\r\n", b"\r\na: " + bytes(9000).replace(b"\0", b"b") + b"\r\n\r\n"), 400),
        (live + b"\x81\x82\0\0\0\0\xff\xfe", 101),  # a text that is no UTF-8
        (b"POST /v1/age?group=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf", None),
    ):
        with connected(server) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while status and (part := connection.recv(65536)):
                answer += part
        if status:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert int(head.split()[1]) == status
            if status >= 400:
                assert set(json.loads(body)["error"]) == {"code", "message"}
                assert b"default-src 'none'" in head
    wait_for(lambda: server.config.app.state.kiosk.uploads.taken == 0)  # type: ignore[union-attr]
    time.sleep(0.05)
    log = capfd.readouterr().err + caplog.text
    assert "Traceback" not in log
    assert "ASGI callable" not in log


def test_headers(client: httpx.Client) -> None:
    for path in ("/", "/static/app.js", "/nothing", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in ("no-store", "no-cache")
    assert "set-cookie" not in client.get("/").headers


def test_pictures_are_kept_for_their_time() -> None:
    clock = Clock()
    stills = Snapshots(60, 2, clock)
    first = stills.add(b"1", "a.jpg")
    clock.now += 30
    second = stills.add(b"2", "a.jpg")
    assert len({first, second}) == 2
    assert min(len(first), len(second)) == 22
    clock.now += 30
    assert stills.get(first) is None
    kept = stills.get(second)
    assert kept is not None
    assert kept.data == b"2"
    third, fourth = stills.add(b"3", "a.jpg"), stills.add(b"4", "a.jpg")
    assert stills.get(second) is None  # the oldest of more than two
    stills.delete(third)
    stills.delete("never was")
    assert [stills.get(third), len(stills)] == [None, 1]
    clock.now += 60
    stills.sweep()
    assert stills.get(fourth) is None
    assert len(stills) == 0


def test_pictures_go_though_nobody_asks(tiny: Transformer, astronaut: Image8) -> None:
    with serving(tiny, Settings(still_seconds=0.2)) as server, Visitor(server.url) as visitor:
        visitor.start().be_seen(encoded(astronaut))
        visitor.say(type="still")
        visitor.hear()
        stills = server.config.app.state.kiosk.snapshots  # type: ignore[union-attr]
        deadline = time.monotonic() + PATIENCE
        while stills._snapshots and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not stills._snapshots


def test_pictures_of_one_address_push_out_their_own() -> None:
    snapshots = Snapshots(60, 4)
    mine = snapshots.add(b"1", "a.jpg", "10.0.0.1")
    others = [snapshots.add(b"2", "a.jpg", "10.0.0.2") for _ in range(20)]
    assert snapshots.get(mine) is not None
    assert [snapshots.get(token) is not None for token in others[-3:]] == [True] * 3
    assert len(snapshots) == 4


def test_places_are_shared_among_addresses() -> None:
    places = Places(3, 2)
    with places.hold("a"), places.hold("a"):
        with pytest.raises(Full) as full, places.hold("a"):
            pass
        assert full.value.of_address
        with places.hold("b"):
            assert places.taken == 3
            with pytest.raises(Full) as full, places.hold("c"):
                pass
            assert not full.value.of_address
        assert places.taken == 2
    assert places.taken == 0


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))


def test_idle_connections_keep_nobody_out(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither silent ones, nor those that send half a request, byte by byte; and they end."""
    monkeypatch.setattr(server_module, "_CONNECTIONS_PER_ADDRESS", 8)
    monkeypatch.setattr(server_module, "_REQUEST_TIMEOUT_S", 1.5)
    with serving(tiny) as server:
        opened = [connected(server) for _ in range(20)]
        for one in opened[::2]:
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-a: ")
        try:
            assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
            wait_for(lambda: len(server.server_state.connections) == 0)
        finally:
            for one in opened:
                one.close()


@pytest.mark.parametrize("trusted", [False, True])
def test_only_a_trusted_proxy_names_the_address(tiny: Transformer, trusted: bool) -> None:
    settings = Settings(requests_per_minute=6, trusted_proxies=("127.0.0.1",) if trusted else ())
    with serving(tiny, settings) as server:
        codes = [
            httpx.post(
                f"{server.url}/v1/age?years=300", headers={"X-Forwarded-For": f"10.0.0.{i}"}, trust_env=False
            ).status_code
            for i in range(3)
        ]
    assert codes == ([400] * 3 if trusted else [400, 429, 429])


def test_a_request_with_two_lengths_is_refused(tiny: Transformer) -> None:
    with serving(tiny) as server, connected(server) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(
            b"POST /v1/age?years=70 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def test_buckets() -> None:
    clock = Clock()
    bucket = TokenBucket(2, 3, clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.5)
    clock.now += 0.5
    assert bucket.take() == 0
    clock.now += 100
    assert sum(bucket.take() == 0 for _ in range(10)) == 3
    buckets = TokenBuckets(1, 1, clock)
    assert [buckets.take("a"), buckets.take("b"), buckets.take("a")] == [0, 0, pytest.approx(1)]
    for i in range(2000):
        buckets.take(str(i))
    assert buckets._bucket.cache_info().currsize == 1024


def test_visitors_take_turns() -> None:
    """One with a frame ready at any time gets no more than the others."""
    order: list[str] = []

    async def visit(name: str, executor: SerialExecutor) -> None:
        for _ in range(5):
            await executor.run(lambda: order.append(name))

    async def visits() -> None:
        executor = SerialExecutor()
        first = threading.Event()
        blocked = asyncio.create_task(executor.run(lambda: first.wait(PATIENCE)))
        waiting = [asyncio.create_task(visit(name, executor)) for name in "abc"]
        await asyncio.sleep(0)
        first.set()
        await asyncio.gather(blocked, *waiting)
        executor.close()

    asyncio.run(visits())
    assert "".join(order) == "abc" * 5


def test_the_server_answers_while_it_works(
    tiny_model: Path, astronaut: Image8, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, go = threading.Event(), threading.Event()

    def slow(frame: Any, color: Any) -> list[Any]:
        going.set()
        go.wait(PATIENCE)
        return []

    with (
        Transformer(tiny_model, detector=slow, threads=1) as transformer,
        serving(transformer) as server,
        Visitor(server.url) as visitor,
    ):
        answers: list[int] = []

        def ask() -> None:
            url = f"{server.url}/v1/age?group=1"
            answers.append(httpx.post(url, content=encoded(astronaut), trust_env=False, timeout=PATIENCE).status_code)

        asking = [threading.Thread(target=ask) for _ in range(6)]
        for thread in asking:
            thread.start()
        assert going.wait(PATIENCE)
        visitor.start().change(encoded(astronaut))  # live pictures go on
        health = httpx.get(f"{server.url}/healthz", trust_env=False)
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        monkeypatch.setattr(state, "_STALL_S", 0.0)
        health = httpx.get(f"{server.url}/healthz", trust_env=False)
        assert (health.status_code, health.json()["status"]) == (503, "stalled")
        wait_for(lambda: answers.count(503) == 2)
        go.set()
        for thread in asking:
            thread.join(PATIENCE)
    assert sorted(answers) == [422] * 4 + [503] * 2  # four of an address may wait


_writing, _connecting = [], []
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if (
        event == "open" and not isinstance(arguments[0], int) and set(arguments[1] or "") & set("wxa+")
    ):  # a number is a pipe
        _writing.append(arguments[0])
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo") and arguments[-1] not in ((), None):
        _connecting.append((event, arguments))


def test_nothing_is_written_and_nobody_is_called(tiny: Transformer, astronaut: Image8) -> None:
    """What the interpreter opens and connects to, while a visitor does all that can be done; our own client apart."""
    global _watching
    sys.addaudithook(_watch)  # there is no way to take one away
    with serving(tiny, Settings(print_command=("cat", "{file}"))) as server:
        port = int(server.url.rsplit(":", 1)[1])
        _writing.clear()
        _connecting.clear()
        _watching = True
        try:
            with (
                Visitor(server.url) as visitor,
                httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as http,
            ):
                visitor.start().be_seen(encoded(astronaut))
                visitor.say(type="still")
                token = visitor.hear()[0]["token"]
                visitor.say(type="print", token=token)
                assert visitor.hear()[0] == {"type": "printed"}
                visitor.say(type="strip")
                visitor.hear()
                assert http.get(f"/stills/{token}.jpg").status_code == 200
                assert http.get(f"/stills/{token}.svg").status_code == 200
                big = np.zeros((1500, 1500, 3), np.uint8)
                big[:512, :512] = astronaut
                assert http.post("/v1/age?group=0", content=encoded(big, "PNG")).status_code == 200
                assert http.get("/").status_code == 200
                assert http.get("/metrics").status_code == 200
        finally:
            _watching = False
    assert _writing == []
    assert [
        call for call in _connecting if not (call[0] == "socket.connect" and call[1][1] == ("127.0.0.1", port))
    ] == [call for call in _connecting if call[0] == "socket.getaddrinfo" and call[1][:2] == ("127.0.0.1", port)]


def test_https(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(cafile=cert)
    with serving(tiny, certfile=cert, keyfile=key, host="0.0.0.0") as server:
        assert server.url.startswith("https://localhost:")
        assert httpx.get(f"{server.url}/healthz", verify=context, trust_env=False).status_code == 200
        with Visitor(server.url, ssl=context) as visitor:
            visitor.start().be_seen(encoded(astronaut))
            visitor.say(type="still")
            kept = visitor.hear()[0]
    if server.settings.network_url is not None:  # a machine without a network has no address there
        assert kept["reachable"]
        assert kept["address"] == f"{server.settings.network_url}/taken/{kept['token']}"
    with pytest.raises(InputError, match="a certificate and its key"):
        Server(tiny, Settings(), port=0, certfile=key, keyfile=cert)


def run(*words: str) -> Any:
    result = CliRunner().invoke(cli.app, ["kiosk", *words], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result


def test_wrong_usage(server: Server, tmp_path: Path, tiny_model: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    model = ["--model", str(tiny_model)]
    for words, message in (
        (["--port", port, *model], "cannot listen there"),
        (["--certfile", "a.pem", *model], "needs both the certificate and its key"),
        (["--public-url", "kiosk.example"], "expected an address like https://kiosk.example"),
        (["--strings", str(tmp_path / "none.json")], "expected a JSON file of texts"),
        (["--still-minutes", "0"], "--still-minutes"),
        (["--languages", "de,xx", *model], "got 'xx'"),
        (["--webhook", "events.example", *model], "expected an address like https://events.example/kiosk"),
        (["--mqtt", "broker.example", *model], "expected an address with a topic like mqtt://broker.example/kiosk"),
        (["--print-command", "lp '", *model], "expected words as a shell has them"),
        (["--print-command", "no-such-program", *model], "is no program of this machine"),
        (["--print-command", "cat", "--printer", "a", *model], "not both"),
    ):
        result = run(*words)
        assert result.exit_code == 2, result.output
        assert message in result.output
    assert run("--model", str(tmp_path / "none.onnx")).exit_code == 5


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lgin_edge.kiosk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run()
    assert result.exit_code == 5
    assert "the kiosk needs uvicorn" in result.output
    assert "pip install 'lgin-edge[kiosk]'" in result.output


def test_twenty_visits_leave_nothing(tiny_model: Path, tmp_path: Path, astronaut: Image8) -> None:
    """The command, its page and its end; meanwhile twenty visitors, three at once. ``benchmarks/kiosk_visits.py`` counts 500."""
    here, opened = tmp_path / "here", tmp_path / "opened"
    here.mkdir()
    words = ["--model", str(tiny_model), "--threads", "1", "--public-url", "http://kiosk.example", "--open"]
    words += ["--print-command", "cat {file}", "--still-minutes", "0.1"]
    browser = f"sh -c 'echo %s > {opened}'"
    with command(here, *words, BROWSER=browser, PYTHONWARNINGS="error") as (process, url):
        assert process.stdout is not None
        assert process.stdout.readline() == "From other machines: http://kiosk.example\n"
        page = httpx.get(url, headers={"host": "kiosk.example"}, timeout=PATIENCE, trust_env=False)
        assert page.status_code == 200
        wait_for(lambda: opened.is_file() and opened.read_text() == f"{url}\n")
        used, file = ProcessTree(process.pid), encoded(astronaut)
        with ThreadPoolExecutor(3) as visitors:

            def visit(number: int) -> None:
                whole_visit(url, file, "strip" if number % 2 else "still", language="ja")

            list(visitors.map(visit, range(4)))
            before = used.written_bytes, used.descriptors
            list(visitors.map(visit, range(16)))
        wait_for(lambda: (used.written_bytes, used.descriptors) <= before)
        assert list(here.iterdir()) == []
    assert process.returncode == 130
