"""The kiosk: a web page with a live camera in which everyone is younger or older, served by the device (``lgin-edge kiosk``).

Data flows one way: the page's frames come in by ``session``, take their turn in ``turns``, are changed by ``work`` and go
back; ``stills`` keeps for some minutes, in memory, what a visitor asked to keep. ``guard`` stands before everything,
``server`` round it. Nothing here writes a file or opens a connection.
"""
