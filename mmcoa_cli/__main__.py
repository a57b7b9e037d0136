"""`python -m mmcoa_cli` is `mmcoa`."""

from .app import main

main()
