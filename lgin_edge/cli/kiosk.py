"""The command line for the kiosk: ``lgin-edge kiosk``."""

from __future__ import annotations

import secrets
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ..errors import BackendError, InputError
from . import options
from .options import exit_on_error, stderr, stdout

if TYPE_CHECKING:
    from PIL import Image


def kiosk(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at: 0.0.0.0 lets in the whole network, 127.0.0.1 this machine alone.",
            metavar="ADDRESS",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.", metavar="PORT")] = 8000,
    certfile: Annotated[
        Path | None,
        typer.Option(
            help="A certificate (PEM), for HTTPS. Browsers on other machines open their camera over HTTPS alone.",
            metavar="FILE",
        ),
    ] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its key (PEM).", metavar="FILE")] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            help="Where visitors' phones reach the kiosk, like https://kiosk.example; QR codes lead there. Default: where "
            "the page was opened, or this machine's address.",
            metavar="URL",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name by which the kiosk may be called, besides IP addresses, localhost and --public-url; repeatable.",
            metavar="NAME",
        ),
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of a reverse proxy whose X-Forwarded-For is believed; repeatable. Default: nobody's, and limits "
            "by address then count all that come through a proxy as one.",
            metavar="ADDRESS",
        ),
    ] = None,
    still_minutes: Annotated[
        float,
        typer.Option(
            min=0.1, max=1440, help="How long a picture that a visitor took is kept, in memory.", metavar="MINUTES"
        ),
    ] = 5.0,
    idle_seconds: Annotated[
        float, typer.Option(min=5, max=3600, help="Without a face for so long, the camera stops.", metavar="SECONDS")
    ] = 20.0,
    countdown: Annotated[
        int, typer.Option(min=0, max=10, help="Before a picture is taken; 0 for none.", metavar="SECONDS")
    ] = 3,
    visitors: Annotated[int, typer.Option(min=1, max=64, help="How many may be in at once.", metavar="N")] = 8,
    fps: Annotated[float, typer.Option(min=1, max=60, help="Most frames a second for each.", metavar="N")] = 30.0,
    side: Annotated[
        int, typer.Option(min=320, max=1920, help="Longer side of the camera's frames, pixels.", metavar="PIXELS")
    ] = 960,
    still_side: Annotated[
        int,
        typer.Option(
            min=320,
            max=4096,
            help="Longer side of the pictures that are taken, if the camera has it, pixels.",
            metavar="PIXELS",
        ),
    ] = 1920,
    shots: Annotated[
        int, typer.Option(min=1, max=6, help="Pictures taken at once, of which a visitor keeps one.", metavar="N")
    ] = 3,
    languages: Annotated[
        str | None,
        typer.Option(
            help="Languages that a visitor can choose, like de,en,fr; the page opens in the first. Default: all, and it opens in "
            "the browser's.",
            metavar="CODES",
        ),
    ] = None,
    strings: Annotated[
        Path | None,
        typer.Option(
            help="Texts of your own, or another language: a JSON file like kiosk/static/strings.en.json, of which the rest stays.",
            metavar="FILE",
        ),
    ] = None,
    public_screen: Annotated[
        bool,
        typer.Option(
            "--public-screen",
            help="For a screen that visitors touch: no photo from this machine's disk, nothing saved to it, no context menu.",
        ),
    ] = False,
    printer: Annotated[
        str | None,
        typer.Option(help="Visitors can print, at this printer of CUPS (lpstat -e lists them).", metavar="NAME"),
    ] = None,
    print_command: Annotated[
        str | None,
        typer.Option(
            help="Or by this command: {file} in it is the picture's file, a JPEG in memory; without it the picture is its input.",
            metavar="COMMAND",
        ),
    ] = None,
    prints_per_visit: Annotated[int, typer.Option(min=1, max=100, help="Prints of one visitor.", metavar="N")] = 2,
    prints_per_hour: Annotated[int, typer.Option(min=1, max=10_000, help="Prints of all visitors.", metavar="N")] = 60,
    webhook: Annotated[
        str | None,
        typer.Option(
            help="An address that is sent JSON of visits, pictures taken and prints, without the pictures; and how the kiosk is, every "
            "five minutes.",
            metavar="URL",
        ),
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(
            help="The same to a broker of MQTT, like mqtts://user:password@broker.example/house/kiosk; topics are house/kiosk/visit and "
            "so on. Needs pip install 'lgin-edge\\[mqtt]'.",
            metavar="URL",
            envvar="LGIN_KIOSK_MQTT",
            show_envvar=True,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Keep what visitors take in this folder, for the staff, who see it at /staff. Visitors are told before they agree.",
            metavar="FOLDER",
        ),
    ] = None,
    keep_days: Annotated[float, typer.Option(min=0.01, max=3650, help="For how long.", metavar="DAYS")] = 7.0,
    keep_mb: Annotated[
        float, typer.Option(min=1, help="Of so many megabytes in all; of more, the oldest go.", metavar="N")
    ] = 4000.0,
    staff_password: Annotated[
        str | None,
        typer.Option(
            help="For /staff, with any user's name. Default: a new one with every start, which is told.",
            metavar="PASSWORD",
            envvar="LGIN_KIOSK_STAFF_PASSWORD",
            show_envvar=True,
        ),
    ] = None,
    c2pa_cert: Annotated[
        Path | None,
        typer.Option(
            help="Sign what visitors take away with this certificate (PEM), as C2PA's Content Credentials. Needs pip install "
            "'lgin-edge\\[c2pa]'.",
            metavar="FILE",
        ),
    ] = None,
    c2pa_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", metavar="FILE")] = None,
    logo: Annotated[
        Path | None,
        typer.Option(
            help="A picture, on the start screen and on what is taken away; a PNG can be transparent.", metavar="FILE"
        ),
    ] = None,
    frame: Annotated[
        Path | None,
        typer.Option(
            help="A PNG with a transparent middle, over pictures and clips that are taken away.", metavar="FILE"
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    sha256: options.Sha256Option = None,
    max_faces: options.MaxFacesOption = options.MAX_FACES,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, help="Largest picture that the HTTP API takes, millions of pixels.", metavar="N")
    ] = 50.0,
    max_mb: Annotated[
        float,
        typer.Option(min=0.001, help="Largest file of a picture that the HTTP API takes, megabytes.", metavar="N"),
    ] = 20.0,
) -> None:
    """Serve a page in which everyone before the camera is younger or older, live.

    Examples:

      lgin-edge kiosk

      lgin-edge kiosk --host 0.0.0.0 --certfile kiosk.pem --keyfile kiosk-key.pem

      lgin-edge kiosk --model engine.plan --still-minutes 10 --languages de,en

    The camera is that of whoever opens the page: of this machine at localhost, or of a phone on the same network over HTTPS.

    Without --keep nothing is written to disk. Nothing leaves this machine but to the visitors' browsers, and events without pictures
    (--webhook, --mqtt). Needs FastAPI, uvicorn and more: pip install 'lgin-edge\\[kiosk]'
    """
    with exit_on_error():
        if (c2pa_cert is None) != (c2pa_key is None):
            raise InputError("signing needs both the certificate and its key: --c2pa-cert FILE --c2pa-key FILE")
        names = tuple(allow_host or ()) + _name_of(public_url)
        if printer is not None and print_command is not None:
            raise InputError("give --printer or --print-command, not both")
        try:
            from ..kiosk.credentials import Credentials
            from ..kiosk.events import Mqtt, Webhook
            from ..kiosk.gallery import Gallery
            from ..kiosk.printing import checked, cups
            from ..kiosk.server import Server
            from ..kiosk.settings import Settings
            from ..kiosk.texts import drawable, offered
        except ModuleNotFoundError as error:
            raise BackendError(
                f"the kiosk needs {error.name}, which is not installed: pip install 'lgin-edge[kiosk]'"
            ) from error
        from ..transformer import Transformer

        texts = offered(languages.split(",") if languages else (), strings)
        undrawn = [code for code, one in texts.items() if drawable(one) is not one]
        if undrawn:
            stderr.print(
                f"No font here has the letters of {', '.join(undrawn)}: marks and labels in pictures are English there."
            )
        password = staff_password or secrets.token_urlsafe(12)
        settings = Settings(
            still_seconds=60 * still_minutes,
            idle_seconds=idle_seconds,
            countdown_seconds=countdown,
            max_visitors=visitors,
            max_fps=fps,
            side=side,
            still_side=still_side,
            shots=shots,
            public_screen=public_screen,
            print_command=checked(cups(printer) if printer else _words(print_command)),
            receivers=(*map(Webhook, (webhook,) if webhook else ()), *map(Mqtt, (mqtt,) if mqtt else ())),
            gallery=None if keep is None else Gallery(keep, 86400 * keep_days, 1e6 * keep_mb, password),
            credentials=Credentials(c2pa_cert, c2pa_key) if c2pa_cert and c2pa_key else None,
            logo=_overlay(logo),
            frame=_overlay(frame),
            prints_per_visit=prints_per_visit,
            prints_per_hour=prints_per_hour,
            hosts=names,
            trusted_proxies=tuple(trust_proxy or ()),
            public_url=public_url.rstrip("/") if public_url else None,
            languages=texts,
            language=next(iter(texts)) if languages or strings else None,
            uploads=options.limits_of(megapixels=max_megapixels, mb=max_mb),
        )
        limits = options.limits_of(faces=max_faces)
        with Transformer(model, device=device, threads=threads, sha256=sha256, limits=limits) as transformer:
            server = Server(
                transformer,
                settings,
                host=host,
                port=port,
                certfile=certfile,
                keyfile=keyfile,
                ready=lambda url: _tell(url, server.settings.public_url or server.settings.network_url, open_),
            )
            if keep is not None and staff_password is None:
                stdout.print(f"For the staff: {server.url}/staff, password {password}")
            server.run()


def _overlay(path: Path | None) -> Image.Image | None:
    from .. import images

    return None if path is None else images.read(path).image.convert("RGBA")


def _words(print_command: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(print_command or ""))
    except ValueError as error:
        raise InputError(
            f"--print-command: expected words as a shell has them, got {print_command!r}: {error}"
        ) from error


def _name_of(public_url: str | None) -> tuple[str, ...]:
    if public_url is None:
        return ()
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise InputError(f"--public-url: expected an address like https://kiosk.example, got {public_url!r}")
    return (parts.hostname,)


def _tell(url: str, elsewhere: str | None, open_: bool) -> None:
    """Where the page is."""
    stdout.print(f"The kiosk is open: {url}")
    if open_:
        threading.Thread(target=_browse, args=(url,), daemon=True).start()  # the page is served when this returns
    if elsewhere is None:
        stderr.print("It serves this machine alone; --host 0.0.0.0 lets in the network.")
        return
    stdout.print(f"From other machines: {elsewhere}")
    if elsewhere.startswith("http:"):
        stderr.print("Without --certfile and --keyfile browsers there do not open their camera; photos work.")


def _browse(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        stderr.print(f"No browser was found to open {url}")
