"""What a kiosk can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from ..limits import Limits
from .credentials import Credentials
from .events import Receiver
from .gallery import Gallery
from .texts import Texts, offered

_FRAMES = Limits(image_bytes=2_000_000, image_pixels=4_000_000, json_bytes=1024, json_depth=2)
_UPLOADS = Limits(image_bytes=20_000_000, image_pixels=50_000_000)


@dataclass(frozen=True)
class Settings:
    """The settings of a kiosk; their defaults are those of ``lgin-edge kiosk``.

    Attributes:
        still_seconds: for how long a picture that a visitor took can be fetched.
        max_stills: pictures kept at once; the oldest goes first.
        idle_seconds: after so long without a face the camera stops and the start screen is shown.
        countdown_seconds: whole seconds between a visitor's wish for a picture and the picture.
        max_visitors: sessions at once; of one address half of them, but at least one.
        max_fps: frames a second that a visitor may send.
        window: frames that a visitor may have sent and not yet got back.
        side: longer side of the frames that the page sends, pixels.
        still_side: longer side of the pictures that the camera is asked for, pixels; pictures taken have all of them, as far as
            ``frames`` lets them.
        shots: pictures that are taken at once, of which a visitor keeps the best.
        public_screen: visitors stand at the kiosk's own screen: the page offers nothing that reaches that machine's disk.
        print_command: program and arguments that print a picture, as ``printing`` says; empty: no printing.
        prints_per_visit: pictures that one visitor may print.
        prints_per_hour: pictures that all visitors may print.
        receivers: are told of visits, pictures and prints; the kiosk closes them.
        gallery: keeps what visitors take for the staff; None: nothing is kept.
        credentials: sign what visitors take away; None: nothing is signed.
        logo: of the house, in RGBA: on the start screen, and at the left of the bottom of what is taken away.
        frame: in RGBA, over pictures and clips that are taken away; it takes their shape.
        frames: what is taken at most of a frame of the page, and of its messages.
        uploads: of a picture given to the HTTP API.
        requests_per_minute: to the HTTP API, for each client address.
        trusted_proxies: addresses whose ``X-Forwarded-For`` is believed; of nobody when empty.
        hosts: names under which the kiosk may be called, besides IP addresses and localhost.
        public_url: under which the visitors' phones reach the kiosk, without a slash at the end.
        network_url: the same where ``public_url`` is not given and the page itself is open at localhost; None if the
            kiosk serves this machine alone.
        languages: the page's texts in each language that a visitor can choose, by its code.
        language: the one in which the page opens; None for that of the browser, if it is offered.
    """

    still_seconds: float = 300.0
    max_stills: int = 64
    idle_seconds: float = 20.0
    countdown_seconds: int = 3
    max_visitors: int = 8
    max_fps: float = 30.0
    window: int = 2
    side: int = 960
    still_side: int = 1920
    shots: int = 3
    public_screen: bool = False
    print_command: tuple[str, ...] = ()
    prints_per_visit: int = 2
    prints_per_hour: int = 60
    receivers: tuple[Receiver, ...] = ()
    gallery: Gallery | None = None
    credentials: Credentials | None = None
    logo: Image.Image | None = None
    frame: Image.Image | None = None
    frames: Limits = _FRAMES
    uploads: Limits = _UPLOADS
    requests_per_minute: float = 60.0
    trusted_proxies: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    public_url: str | None = None
    network_url: str | None = None
    languages: dict[str, Texts] = field(default_factory=offered)
    language: str | None = None

    @property
    def visitors_per_address(self) -> int:
        """Sessions at once that one address may hold."""
        return -(-self.max_visitors // 2)

    def texts(self, language: str) -> Texts:
        """The texts of a language; of one that is not offered, those in which the page opens."""
        first = self.language or ("en" if "en" in self.languages else next(iter(self.languages)))
        return self.languages.get(language, self.languages[first])
