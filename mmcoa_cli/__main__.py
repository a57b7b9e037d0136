"""`python -m mmcoa_cli` is `mmcoa`: signals are heard before anything large is imported."""

from __future__ import annotations

from .terminal.ending import in_words


def main() -> None:
    """Run what was typed."""
    with in_words():
        from .loading import end_without_search, uncollected

        end_without_search()
        with uncollected():
            from .plugins import load

            load()  # first: the command line lists what there is to choose from
            from .app import run

        run()


if __name__ == "__main__":
    main()
