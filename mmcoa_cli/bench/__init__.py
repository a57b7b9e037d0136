"""`mmcoa bench`: how fast this machine does what mmcoa does, against its own limits, the released code, and peers.

Importing this package loads nothing heavy. A part (`asked.py`) is a file that gives races: one piece of work as each of
several does it, in turns, so that whatever else the machine does slows all of them alike.
"""
