"""Which setting each setting is compared with."""

from collections.abc import Iterable, Sequence

from kd_lab.errors import UserError
from kd_lab.report.gathering import Group, Setting

USUAL = "kd"
SHOWN = 4  # choices that an error names


def choose(groups: Sequence[Group], asked: str | None, notes: list[str]) -> list[list[Setting | None]]:
    """The baseline of every setting of every group, or None where it has none.

    ``asked`` is a method, a label, or words that all stand in a label or among a setting's ``name=value``. A setting
    is compared with the one that it names; of several with the one of the same student and teachers, else with the
    only one of the same student; of those with the one that shares most settings.

    Args:
        groups: whose settings are compared within.
        asked: by the user; None for the usual baseline, as far as there is one.
        notes: a line is added for every setting without a baseline.

    Raises:
        UserError: if ``asked`` names no setting, or several that a setting could as well be compared with.
    """
    wanted = asked or USUAL
    every = [setting for group in groups for setting in group.settings]
    # A method's name may be part of a model's.
    a_method = any(setting.method == wanted for setting in every)
    chosen: list[list[Setting | None]] = []
    for group in groups:
        named = [s for s in group.settings if (s.method == wanted if a_method else _is_called(s, wanted))]
        named = [s for s in named if s.label == wanted] or named
        only = named[0] if len(named) == 1 and not a_method else None
        if not named:
            notes.append(f"no differences for {group.title}: no setting is {wanted}; choose one with baseline=")
        chosen.append(
            [None if s in named or not named else only or _of(s, named, asked, notes) for s in group.settings]
        )
    if asked and not a_method and not any(_is_called(s, asked) for s in every):
        raise UserError(f"baseline={asked}: no setting is called that; choose {_some(s.label for s in every)}")
    return chosen


def _is_called(setting: Setting, asked: str) -> bool:
    decides = setting.first.decides.items()
    told = [setting.label.lower(), *(f"{name}={value}".lower() for name, value in decides if name != "method._target_")]
    return all(any(word in part for part in told) for word in asked.lower().split())


def _of(setting: Setting, named: Sequence[Setting], asked: str | None, notes: list[str]) -> Setting | None:
    student = setting.models[0]
    alike = [other for other in named if other.models == setting.models]
    best = _nearest(setting, alike or [other for other in named if other.models[0] == student])
    if len(best) == 1:
        return best[0]
    if alike and asked:
        raise UserError(f"baseline={asked}: for {setting.label} it may be any of {_some(s.label for s in best)}")
    why = (
        f"its baseline may be any of {_some(s.label for s in best)}"
        if best
        else f"no baseline has the student {student}"
    )
    notes.append(f"no difference for {setting.label}: {why}")
    return None


def _nearest(setting: Setting, others: Sequence[Setting]) -> list[Setting]:
    """Those that differ in the fewest of the settings that both have, the method's name aside."""

    def distance(other: Setting) -> int:
        mine, its = setting.first.decides, other.first.decides
        return sum(repr(mine[name]) != repr(its[name]) for name in mine.keys() & its.keys() - {"teacher"})

    least = min(map(distance, others), default=0)
    return [other for other in others if distance(other) == least]


def _some(labels: Iterable[str]) -> str:
    every = list(dict.fromkeys(labels))
    more = f" or {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(f"'{label}'" for label in every[:SHOWN]) + more
