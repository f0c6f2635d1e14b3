"""The kiosk: a web page with a live camera in which everyone is younger or older, served by the device (``lgin-edge kiosk``).

Data flows one way: the page's frames come in by ``session``, take their turn in ``serial_executor``, are changed there and go
back; ``snapshots`` keeps for some minutes, in memory, what a visitor asked to keep. ``security`` stands before everything,
``server`` round it. ``gallery`` alone writes files; ``events`` alone opens a connection, and ``printing`` runs a command.
"""
