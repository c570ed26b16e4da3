"""All pictures of a table's settings."""

from collections.abc import Callable

from kd_lab.report import comparing, lines, marks
from kd_lab.report.gathering import Group, Setting
from kd_lab.report.pictures import Picture

MOST = 7  # settings that one picture of lines can hold


def means(group: Group, split: str) -> list[Picture]:
    """The first of all pictures, where there is accuracy on ``split``."""
    whole = [one for one in enumerate(group.settings) if _mean(one[1], split) is not None]
    return [marks.forest(whole, split, group.digest[:8])] if whole else []


def draw(group: Group, split: str) -> list[Picture]:
    """All pictures of ``group`` for which its runs have the figures; accuracy is on ``split``."""
    numbered = list(enumerate(group.settings))
    # Chosen by validation accuracy: the test rows choose nothing.
    best = sorted(numbered, key=lambda one: -(_mean(one[1], "validation") or 0))[:MOST]
    best.sort(key=lambda one: one[0])
    left = len(numbered) - len(best)
    shown = f" The {MOST} settings of the highest validation accuracy; {left} more are left out." if left else ""
    key, whole = group.digest[:8], [one for one in numbered if _mean(one[1], split) is not None]
    makers: list[Callable[[], Picture | None]] = [
        lambda: marks.by_size(whole, split, key) if whole else None,
        lambda: lines.curves(best, shown, key),
        lambda: lines.under_noise(best, shown, key),
        lambda: lines.calibration(best, shown, split, key),
        lambda: marks.agreement(whole, split, key),
    ]
    return [*means(group, split), *(picture for make in makers if (picture := make()))]


def _mean(setting: Setting, split: str) -> float | None:
    found = comparing.spread(setting, split)
    return found.mean if found else None
