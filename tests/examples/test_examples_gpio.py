"""Push buttons, on gpiozero's mock pins; the keyboard of the kernel is replaced."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from doc_blocks import ROOT, needs_checkout
from example_runs import load

pytestmark = needs_checkout


def test_buttons_press_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory
    from support.kiosk_server import wait_for

    codes = SimpleNamespace(EV_KEY=1, KEY_ENTER=28, KEY_LEFT=105, KEY_RIGHT=106)
    monkeypatch.setitem(sys.modules, "evdev", SimpleNamespace(UInput=None, ecodes=codes))
    pressed: list[tuple[int, int, int]] = []
    keyboard: Any = SimpleNamespace(write=lambda *event: pressed.append(event), syn=lambda: None)
    example = load(ROOT / "examples" / "gpio_buttons.py")
    monkeypatch.setattr(example, "HOLD_S", 0.05)
    monkeypatch.setattr(example, "BOUNCE_S", None)  # mock pins do not bounce
    with MockFactory() as factory:
        monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
        buttons = example.wire(keyboard, {17: 28, 27: 105})
        enter, left = factory.pin(17), factory.pin(27)
        enter.drive_low()
        assert pressed == [(1, 28, 1), (1, 28, 0)]
        enter.drive_high()
        left.drive_low()  # is held
        wait_for(lambda: pressed.count((1, 105, 0)) >= 3)
        left.drive_high()
        assert pressed.count((1, 28, 1)) == 1
        for button in buttons:
            button.close()
