"""kd_lab: distils text classifiers, with teachers that learn how to teach."""

import sys

# python -m puts the working folder before all libraries: there a datasets.py of the user's own would be taken for one.
# A method of the user's own is still found, after them.
if sys.argv[:1] == ["-m"] and any(word.startswith("kd_lab") for word in sys.orig_argv):
    sys.path.append(sys.path.pop(0))

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
    from kd_lab import composition
    from kd_lab.experiment import train as run

    return run(composition.settings_of(overrides or []))
