"""kd_lab: distils text classifiers, with teachers that learn how to teach."""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kd_lab.results import Result

__version__ = version("kd_lab")


def train(overrides: list[str] | None = None) -> "Result":
    """Do in a notebook what ``python -m kd_lab.run`` does with the same words.

    Args:
        overrides: ``name=value`` words, as on the command line.

    Returns:
        What the run found; ``result.folder`` is where it lies.

    Raises:
        kd_lab.errors.UserError: for a bad setting, missing data or an unreachable hub, in one line.
    """
    from kd_lab import settings
    from kd_lab.experiment import train as run

    return run(settings.check(settings.compose(overrides or [])))
