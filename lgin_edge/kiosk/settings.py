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
    """The settings of a kiosk; their defaults are those of ``lgin-edge kiosk``."""

    still_seconds: float = 300.0  #: For how long a picture that a visitor took can be fetched.
    max_stills: int = 64  #: Pictures kept at once; the oldest goes first.
    idle_seconds: float = 20.0  #: After so long without a face the camera stops and the start screen is shown.
    countdown_seconds: int = 3  #: Whole seconds between a visitor's wish for a picture and the picture.
    max_visitors: int = 8  #: Sessions at once; of one address half of them, but at least one.
    max_fps: float = 30.0  #: Frames a second that a visitor may send.
    window: int = 2  #: Frames that a visitor may have sent and not yet got back.
    side: int = 960  #: Longer side of the frames that the page sends, pixels.
    #: Longer side of the pictures that the camera is asked for, pixels; pictures taken have all of them, as far as ``frames`` lets
    #: them.
    still_side: int = 1920
    shots: int = 3  #: Pictures that are taken at once, of which a visitor keeps the best.
    #: Visitors stand at the kiosk's own screen: the page offers nothing that reaches that machine's disk.
    public_screen: bool = False
    #: Program and arguments that print a picture, as ``printing`` says; empty: no printing.
    print_command: tuple[str, ...] = ()
    prints_per_visit: int = 2  #: Pictures that one visitor may print.
    prints_per_hour: int = 60  #: Pictures that all visitors may print.
    receivers: tuple[Receiver, ...] = ()  #: Are told of visits, pictures and prints; the kiosk closes them.
    gallery: Gallery | None = None  #: Keeps what visitors take for the staff; None: nothing is kept.
    credentials: Credentials | None = None  #: Sign what visitors take away; None: nothing is signed.
    #: Of the house, in RGBA: on the start screen, and at the left of the bottom of what is taken away.
    logo: Image.Image | None = None
    #: In RGBA, over pictures and clips that are taken away; it takes their shape.
    frame: Image.Image | None = None
    frames: Limits = _FRAMES  #: What is taken at most of a frame of the page, and of its messages.
    uploads: Limits = _UPLOADS  #: Of a picture given to the HTTP API.
    requests_per_minute: float = 60.0  #: To the HTTP API, for each client address.
    trusted_proxies: tuple[str, ...] = ()  #: Addresses whose ``X-Forwarded-For`` is believed; of nobody when empty.
    hosts: tuple[str, ...] = ()  #: Names under which the kiosk may be called, besides IP addresses and localhost.
    public_url: str | None = None  #: Under which the visitors' phones reach the kiosk, without a slash at the end.
    #: The same where ``public_url`` is not given and the page itself is open at localhost; None if the kiosk serves this machine
    #: alone.
    network_url: str | None = None
    #: The page's texts in each language that a visitor can choose, by its code.
    languages: dict[str, Texts] = field(default_factory=offered)
    language: str | None = None  #: The one in which the page opens; None for that of the browser, if it is offered.

    def texts(self, language: str) -> Texts:
        """The texts of a language; of one that is not offered, those in which the page opens."""
        first = self.language or ("en" if "en" in self.languages else next(iter(self.languages)))
        return self.languages.get(language, self.languages[first])
