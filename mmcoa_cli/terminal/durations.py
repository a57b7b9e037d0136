"""How long something takes, in words: roughly for a plan, closely for what is under way or done."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(seconds: float | None) -> str:
    """ "40 s", "12 min", "3 h 10 min", "2 days 4 h"; "?" for None."""
    if seconds is None:
        return "?"
    if seconds < 1.5 * MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 1.5 * HOUR:
        return f"{round(seconds / MINUTE)} min"
    if seconds < 2 * DAY:
        hours, minutes = divmod(round(seconds / MINUTE / 10) * 10, 60)
        return f"{hours} h" + (f" {minutes} min" if minutes and hours < 10 else "")
    days, hours = divmod(round(seconds / HOUR), 24)
    return f"{days:,} days" + (f" {hours} h" if hours and days < 3 else "")


def closely(seconds: float) -> str:
    """ "0.4 s", "40 s", "3 min 10 s", "1 h 5 min"; from ten hours on as `duration`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < MINUTE - 0.5:
        return f"{round(seconds)} s"
    if seconds < HOUR - 0.5:
        minutes, rest = divmod(round(seconds), MINUTE)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    if seconds < 10 * HOUR:
        hours, minutes = divmod(round(seconds / MINUTE), 60)
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return duration(seconds)
