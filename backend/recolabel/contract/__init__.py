"""What crosses the wire between browser, server, command line and worker. Imports nothing of ours.

Coordinates are canonical image pixels: the grid after the EXIF turn, x to the right, y down, (0, 0) the
upper left pixel. JSON says {x, y}; arrays elsewhere say (y, x).
"""

CONTRACT_VERSION = "2"
"""Sent by every worker; the server refuses another one with a sentence that says which side to upgrade."""
