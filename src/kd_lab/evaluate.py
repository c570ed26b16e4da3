"""The door: python -m kd_lab.evaluate RUN [split=test] [data=… name=value …]: a finished classifier on any data."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from kd_lab import doors, environment, files, fingerprint, finished, memory, results, sources, splits, terminal
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import UserError
from kd_lab.sections import Section
from kd_lab.settings import Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits

if TYPE_CHECKING:
    from kd_lab.measures import Measures

USAGE = """A finished student or teacher on any data: accuracy, F1, calibration, confusion, accuracy by length.

python -m kd_lab.evaluate RUN [split=test] [name=value ...]

RUN         a run's folder (its student), one of its teachers/ folders, any model folder, a name or a hub id
split=      test, validation, quiz, train, or all rows
data=...    as in kd_lab.run; without it, the data the run was trained on
noise=...   as in kd_lab.run; here it is done to the sentences that are evaluated

Every other word of kd_lab.run is understood as well, such as precision= and output_dir=."""


class Ways(Section):
    """The door's own words."""

    split: Literal["test", "validation", "quiz", "train", "all"] = "test"


@dataclass(frozen=True)
class Question:
    """What is asked of whom.

    Attributes:
        checkpoint: of the classifier.
        run_folder: the folder of the run it came out of, or None.
        settings: with the data, noise, precision and machine of the evaluation.
        rows: of the source, their labels numbered as the classifier numbers them.
        numbers: which of them are asked.
        split: their name.
    """

    checkpoint: Checkpoint
    run_folder: Path | None
    settings: Settings
    rows: Rows
    numbers: Sequence[int]
    split: str

    @property
    def texts(self) -> list[str]:
        """The sentences that are asked, without noise."""
        return [self.rows.texts[number] for number in self.numbers]


def main() -> None:
    """Read the command line, evaluate, print the tables and keep the figures."""
    doors.opened(USAGE, lambda words: answer(ask(words)), empty=False)


def ask(words: Sequence[str]) -> Question:
    """The question that the words of a command line stand for.

    Raises:
        UserError: for a bad word, a folder without a classifier, or labels that it does not know.
    """
    (name,), rest = doors.named(words, "one run", 1)
    ways, given = doors.own(Ways, rest)
    split = ways.split
    found = finished.find(name, given, writes=True)
    checkpoint, checked = found.checkpoint, found.settings
    data = checked.data
    rows = sources.load(data)
    numbers: Sequence[int] = range(len(rows.texts))
    if split != "all":
        cut = sources.cut(rows, data)
        numbers = dict(cut.items())[split]
    return Question(checkpoint, found.run_folder, checked, finished.numbered_by(found, rows), numbers, split)


def answer(question: Question) -> None:
    """Evaluate, print, and write the figures into the folder ``evaluations`` of ``output_dir``."""
    checkpoint, checked = question.checkpoint, question.settings
    memory.keep_freed()
    # Seconds of imports, after everything that can be refused.
    from kd_lab import evaluation

    logits, labels = evaluation.logits(checkpoint, checked, question.rows, question.numbers)
    from kd_lab import measures

    found = measures.measure(logits, labels, question.texts, question.rows.label_names)
    noise = checked.noise_in_words
    title = f"{checkpoint.name} on {checked.data.name}, {question.split}" + (
        "" if noise == "none" else f", {noise} noise"
    )
    show(title, found, question.rows.label_names)
    if seen := _seen(question):
        terminal.say(f"warning: {seen}")
    written: dict[str, Any] = {
        "title": title,
        "model": str(checkpoint.folder),
        "identity": checkpoint.identity(),
        "data": checked.data.model_dump(mode="json", exclude_unset=True),
        "split": question.split,
        "noise": noise,
        "warning": seen,
        **found.model_dump(),
        "versions": environment.versions(),
    }
    key = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:8]
    folder = checked.output_dir / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    name = files.shortened(checkpoint.name.replace("/", "-"), 150)
    path = folder / f"{name}_{checked.data.name}_{question.split}_{key}.json"
    files.write_whole(path, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    terminal.say(f"the figures are in {path}")


def show(title: str, found: "Measures", label_names: Sequence[str]) -> None:
    """Accuracy, F1, calibration, confusion and accuracy by length."""
    terminal.say(title)
    f1 = ", ".join(f"{name} {100 * value:.2f}" for name, value in found.f1.items())
    terminal.say(f"accuracy {found.accuracy:.2%} of {found.rows:,} rows, loss {found.loss:.4f}")
    terminal.say(f"F1 {100 * found.macro_f1:.2f} ({f1}), calibration error {100 * found.calibration_error:.2f} points")
    confusion = terminal.ruled(["label, then predicted"], label_names)
    for name, counts in zip(label_names, found.confusion, strict=True):
        confusion.add_row(escape(name), *(f"{count:,}" for count in counts))
    terminal.console.print(confusion)
    lengths = terminal.ruled(["words"], ["rows", "accuracy %"])
    for part in found.by_length:
        words = f"{part.shortest} to {part.longest}" if part.longest else f"over {part.shortest - 1}"
        lengths.add_row(words, f"{part.rows:,}", f"{100 * part.accuracy:.2f}")
    terminal.console.print(lengths)


def _seen(question: Question) -> str | None:
    """A warning, where the classifier has been trained on texts that are evaluated, or where that cannot be told."""
    run = results.read(question.run_folder) if question.run_folder else None
    if question.run_folder is None or run is None:
        return "trained elsewhere: it may have seen these rows"
    if elsewhere := [warning for warning in run.warnings if "trained elsewhere" in warning]:
        return elsewhere[0]
    try:
        data = finished.data_of(question.run_folder)
        rows = sources.load(data)
        cut = Splits(**json.loads((question.run_folder / "splits.json").read_text(encoding="utf-8")))
        unchanged = fingerprint.data_digest(rows, cut, data.max_length) == run.data.digest
    except (UserError, OSError, TypeError, ValueError, IndexError) as error:
        return f"whether it has seen these rows cannot be told: {error}"
    if not unchanged:
        return "whether it has seen these rows cannot be told: the data it was trained on has changed"
    trained = {splits.normal(rows.texts[number]) for number in (*cut.train, *cut.quiz)}
    count = sum(splits.normal(text) in trained for text in question.texts)
    return f"{count} of these {len(question.numbers)} texts are among those it was trained on" if count else None


if __name__ == "__main__":
    main()
