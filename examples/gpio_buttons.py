"""Push buttons at a Raspberry Pi for the kiosk: ``python examples/gpio_buttons.py --enter 17 --left 27 --right 22``.

Each button lies between a GPIO (BCM's number) and ground, and presses a key of a keyboard that this program adds to the machine: Enter
goes on from screen to screen and takes the picture, the arrows set the age. Needs ``apt install python3-gpiozero python3-evdev`` and
the right to write to /dev/uinput (root, or a udev rule).
"""

from __future__ import annotations

import argparse
from signal import pause
from typing import Any

from evdev import UInput, ecodes
from gpiozero import Button

#: Seconds for which a contact may bounce; and after which, and how often per second, a button that is held presses again.
BOUNCE_S, HOLD_S = 0.05, 0.4


def wire(keyboard: Any, pins: dict[int, int]) -> list[Button]:
    """Buttons that press keys.

    Args:
        keyboard: evdev's ``UInput``.
        pins: key code of each GPIO.

    Returns:
        The buttons, which work for as long as they are kept.
    """
    buttons = []
    for pin, key in pins.items():

        def press(key: int = key) -> None:
            for value in (1, 0):  # down, up
                keyboard.write(ecodes.EV_KEY, key, value)
                keyboard.syn()

        repeats = key != ecodes.KEY_ENTER  # one press takes one picture
        button = Button(pin, bounce_time=BOUNCE_S, hold_time=HOLD_S, hold_repeat=repeats)
        button.when_pressed = press
        if repeats:
            button.when_held = press
        buttons.append(button)
    return buttons


def main() -> None:
    parser = argparse.ArgumentParser(description="Push buttons for the kiosk.")
    keys = {"enter": ecodes.KEY_ENTER, "left": ecodes.KEY_LEFT, "right": ecodes.KEY_RIGHT}
    for name in keys:
        parser.add_argument(f"--{name}", type=int, metavar="GPIO", help=f"the button that presses {name}")
    asked = vars(parser.parse_args())
    pins = {asked[name]: key for name, key in keys.items() if asked[name] is not None}
    if not pins:
        parser.error("name a GPIO: --enter 17")
    with UInput({ecodes.EV_KEY: list(keys.values())}, name="lgin-edge buttons") as keyboard:
        buttons = wire(keyboard, pins)
        print(f"{len(buttons)} buttons; Ctrl-C ends")
        pause()


if __name__ == "__main__":
    main()
