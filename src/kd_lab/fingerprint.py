"""What makes two runs the same run: all that decides their results, and nothing else."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_lab.errors import UserError
from kd_lab.settings import Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits

SCHEMA = 2
"""Raised whenever the same settings would give other results, or result.json another form."""

OF_EVERY_RUN = ("seed", "max_epochs", "patience", "batch_size", "lr", "weight_decay", "precision")
BY_CONTENT = ("student", "teacher", "models", "data")
"""Settings that enter as what they lead to: files' content, the splits' rows, a teacher's own fingerprint."""
OF_DISTILLATION = ("warmup_epochs",)
OF_TEACHERS = ("teacher_epochs", "teacher_finetune_lr", "teacher_batch_size", "teacher_weight_decay")
"""Settings that enter through the fingerprints of the teachers they make."""
LEFT_OUT = ("search", "trainer", "logger", "output_dir", "force", "debug")
"""Settings that change where and how a run happens, not what it is; a search's draws enter as the settings drawn."""


def data_digest(rows: Rows, splits: Splits, max_length: int) -> str:
    """A digest of the texts and labels of every split, in order, wherever they came from; 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps([rows.label_names, max_length]).encode())
    for name, numbers in splits.items():
        digest.update(json.dumps([name, [(rows.texts[n], rows.labels[n]) for n in numbers]]).encode())
    return digest.hexdigest()


def source_digest(target: str) -> str:
    """A digest of what the file of a method's class does; comments, docstrings and layout do not count.

    So a method that was corrected runs again. What lies below the methods is covered by ``SCHEMA``.

    Raises:
        UserError: if there is no such file.
    """
    module, _, name = target.rpartition(".")
    try:
        spec = importlib.util.find_spec(module)
        tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    except (ImportError, ValueError, OSError, SyntaxError) as error:
        raise UserError(
            f"method._target_={target}: there is no readable class {name} in {module!r} ({error})"
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


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
        "method": settings.method.model_dump(exclude_unset=True) | {"source": source_digest(settings.method.target)},
    }
    decides["noise"] = settings.noise_in_words
    if distils:
        decides |= {name: getattr(settings, name) for name in OF_DISTILLATION} | {"teachers": list(teachers)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
