"""From the name of a method to the method itself."""

from importlib import import_module
from typing import Any

from kd_lab.distiller import Distiller
from kd_lab.errors import UserError
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.settings import Method


def build(method: Method, student: Classifier, teachers: TeacherEnsemble | None, **machinery: Any) -> Distiller:
    """The method that ``method`` names, for these models.

    Args:
        method: class and arguments.
        student, teachers, **machinery: of :class:`Distiller`.

    Raises:
        UserError: if there is no such class, or it does not take the arguments.
    """
    path, _, name = method.target.rpartition(".")
    try:
        built: Distiller = getattr(import_module(path), name)(student, teachers, **method.arguments(), **machinery)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"method._target_={method.target}: there is no class that takes these settings ({error})"
        ) from error
    return built
