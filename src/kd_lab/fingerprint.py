"""What makes two runs the same run: all that decides their results, and nothing else."""

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_lab.errors import UserError
from kd_lab.settings import Method, Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits

SCHEMA = 4
"""Raised whenever the same settings would give other results, or result.json another form."""

OF_EVERY_RUN = ("seed", "max_epochs", "patience", "batch_size", "micro_batch_size", "lr", "weight_decay", "precision")
BY_CONTENT = ("student", "teacher", "models", "data")
"""Settings that enter as what they lead to: files' content, the splits' rows, a teacher's own fingerprint."""
OF_DISTILLATION = ("warmup_epochs",)
OF_TEACHERS = (
    "teacher_epochs",
    "teacher_finetune_lr",
    "teacher_batch_size",
    "teacher_weight_decay",
    "teacher_train_on_quiz",
)
"""Settings that enter through the fingerprints of the teachers they make."""
LEFT_OUT = ("search", "trainer", "logger", "output_dir", "force", "debug")
"""Settings that change where and how a run happens, not what it is; a search's draws enter as the settings drawn."""


def data_digest(rows: Rows, splits: Splits, max_length: int) -> str:
    """A digest of the texts, labels and row numbers of every split, in order; 64 hexadecimal digits.

    Wherever the rows came from; their numbers count because noise is drawn by them, and predictions name them.
    """
    digest = hashlib.sha256(json.dumps([rows.label_names, max_length]).encode())
    for name, numbers in splits.items():
        digest.update(json.dumps([name, [(n, rows.texts[n], rows.labels[n]) for n in numbers]]).encode())
    return digest.hexdigest()


def source_digest(method: Method) -> str:
    """A digest of what the file of a method's class does; comments, docstrings and layout do not count.

    So a method that was corrected runs again. What lies below the methods is covered by ``SCHEMA``.

    Raises:
        UserError: if there is no such file or class, or the class does not take the method's arguments.
    """
    module, _, name = method.target.rpartition(".")
    missing = f"method._target_={method.target}: there is no readable class {name} in {module!r}"
    try:
        spec = importlib.util.find_spec(module)
        tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    except (ImportError, ValueError, OSError, SyntaxError) as error:
        raise UserError(f"{missing} ({error})") from error
    if not (found := [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]):
        raise UserError(missing)
    _refuse_unknown_arguments(method, found[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(_dumped(tree).encode()).hexdigest()


def _dumped(tree: ast.AST) -> str:
    """As Python 3.11 writes it: 3.12 names a list for type parameters, and 3.13 leaves empty lists out.

    Only for formats inside of formats, as in ``f"{a:>{b}}"``, does 3.12 write more.
    """
    empty: Any = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **empty).replace(", type_params=[]", "")


def _refuse_unknown_arguments(method: Method, kind: ast.ClassDef) -> None:
    """Before the teachers are trained; a class without an ``__init__`` of its own takes what its base takes."""
    for node in kind.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            known = [argument.arg for argument in node.args.kwonlyargs]
            if unknown := sorted(method.arguments().keys() - known - {argument.arg for argument in node.args.args}):
                raise UserError(f"method.{unknown[0]}: {kind.name} takes {', '.join(known) or 'no arguments'}")


def run_digest(settings: Settings, data: str, student: str, teachers: Sequence[str], *, distils: bool) -> str:
    """A digest of everything that decides a run's result, 64 hexadecimal digits.

    Args:
        settings: of the run.
        data: :func:`data_digest`.
        student: identity of the student's checkpoint.
        teachers: one per member, in order: identity of its checkpoint, or the digest of the run that makes it.
        distils: whether the method has teachers and a warm-up; fine-tuning has neither.
    """
    decides: dict[str, Any] = {name: getattr(settings, name) for name in OF_EVERY_RUN}
    decides |= {
        "schema": SCHEMA,
        "data": data,
        "student": student,
        "method": settings.method.model_dump(exclude_unset=True) | {"source": source_digest(settings.method)},
    }
    if (processes := settings.trainer.devices * settings.trainer.num_nodes) > 1:
        decides["even shares"] = processes  # each draws dropout of its own, on its rows
    if settings.micro_batch_size:
        decides["sums"] = "running"  # until 2026-11-27 in another order: the last bits differ
    decides["noise"] = settings.noise_in_words
    if distils:
        decides |= {name: getattr(settings, name) for name in OF_DISTILLATION} | {"teachers": list(teachers)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
