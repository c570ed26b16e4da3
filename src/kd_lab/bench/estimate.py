"""The door: python -m kd_lab.bench.estimate [name=value ...]: hours and memory of the slides' tables, counted.

Operations of a run = passes of a step (docs/performance.md) × parameters without embeddings × 2 × tokens × steps.
Nothing is measured: tokens are counted on the data, parameters and kept tensors on models without weights, and a
machine is its published peak.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kd_lab import catalogue, composition, doors, sources, teachers, terminal
from kd_lab.errors import UserError
from kd_lab.settings import Data, Settings

USAGE = """The hours and the memory that the tables of the reference slides take on one GPU, counted, not measured.

python -m kd_lab.bench.estimate [name=value ...]

name=value   any setting of kd_lab.run, for all runs, such as data.path= or max_epochs=
models=local counts tokens with a tokenizer that needs no hub; the models counted are always the slides' own"""
TABLES = ("table1", "table2", "table3")
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {}),
    "roberta": ("RobertaConfig", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "distilbert": ("DistilBertConfig", {}),
    "tinybert": ("BertConfig", {"hidden_size": 312, "num_hidden_layers": 4, "intermediate_size": 1200}),
}
"""The published shapes of bert-base-uncased, roberta-base, distilbert-base-uncased and TinyBERT_General_4L_312D."""
SHARE = 0.3  # of the peak that a training step sustains: an assumption
MACHINES = {"A100": (156e12, 1555e9), "T4": (8.1e12, 320e9)}
"""Operations a second at precision=bf16-matmul and bytes a second: TF32 of the A100 of 40 GB (NVIDIA's data sheet,
2021), float32 of the T4, which has no TF32 (NVIDIA's data sheet, 2019)."""
NUMBER = 4  # bytes of a float32
TOUCHED = 7  # times that the optimizer reads or writes a weight's number
QUIZZES = 100  # quiz batches whose tokens are averaged


@dataclass(frozen=True)
class Shape:
    """A model without weights: all parameters, those outside embeddings, and bytes a token's training pass keeps."""

    parameters: int
    inner: int
    kept: int


@dataclass(frozen=True)
class Tokens:
    """Padding included: of a mean and of the longest training batch and of a mean quiz batch; and batches per epoch."""

    batch: float
    longest: int
    quiz: float
    steps: int


@dataclass(frozen=True)
class Cost:
    """Of one run: operations, bytes that its optimizers move, and bytes in memory at most."""

    operations: float
    moved: float
    memory: float

    def hours(self, machine: str) -> float:
        """On one GPU."""
        peak, bandwidth = MACHINES[machine]
        return (self.operations / (SHARE * peak) + self.moved / bandwidth) / 3600


def main() -> None:
    """Read the command line, count, print a table per table."""
    doors.opened(USAGE, estimate)


def estimate(words: Sequence[str]) -> None:
    """Print a table per table, with every run under the settings ``words``."""
    for name in TABLES:
        show(name, list(runs(name, words)))


def runs(table: str, words: Sequence[str]) -> Iterator[tuple[str, Settings]]:
    """The rows of ``table`` with their settings, and before them the teachers that no row makes.

    Raises:
        UserError: for a bad word.
    """
    rows = sorted(path.stem for path in (composition.CONF / "experiment").glob(f"{table}-*.yaml"))
    asked = [(row, composition.settings_of([f"experiment={row}", *words])) for row in rows]
    made = {_key(run) for _, run in asked if not run.method.uses_teachers}
    for _, run in asked:
        for name, making in teachers.members(run):
            if _key(making) not in made:
                made.add(_key(making))
                yield f"teacher {name}, seed {making.seed}", making
    yield from asked


def _key(run: Settings) -> tuple[str, int, int, float]:
    return run.student, run.seed, run.max_epochs, run.lr


def cost(run: Settings) -> Cost:
    """Counted for one GPU, which takes a quiz batch whole."""
    student, tokens = shape(run.student), count_tokens(run)
    members = [shape(name) for name in run.teacher_names]
    s, t = student.inner, sum(member.inner for member in members)
    moving, held, kept = student.parameters, 0, tokens.longest * student.kept
    moved = float(moving)
    if run.method.name == "metadistil":
        q = run.method.quiz_batches * tokens.quiz / tokens.batch
        every = run.method.teacher_every
        passes = (7 * s + 3 * q * s + 4 * t + (every - 1) * (3 * s + t)) / every
        moving += sum(member.parameters for member in members)
        moved += sum(member.parameters for member in members) / every
        # The assumed student, its gradient, and the quiz gradient; and the teachers' graphs beside the student's.
        held, kept = 3 * student.parameters, kept + tokens.longest * sum(member.kept for member in members)
    elif members:
        # Teachers that stand still are asked once, unless noise changes what they read.
        again = run.noise_in_words != "none" and run.noise.name != "labels" and run.noise.teacher_sees == "noisy"
        passes = 3 * s + (t if again else t / run.max_epochs)
        held = sum(member.parameters for member in members)
    else:
        passes = 3 * s
    steps = tokens.steps * run.max_epochs
    operations = 2 * tokens.batch * (passes * steps + 3 * s * run.warm_up * tokens.steps)
    # Weights, gradients and AdamW's two means.
    return Cost(operations, steps * moved * NUMBER * TOUCHED, NUMBER * (4 * moving + held) + kept)


def show(name: str, rows: Sequence[tuple[str, Settings]]) -> None:
    """One line per run, and their sum."""
    tokens = count_tokens(rows[0][1])
    table = terminal.ruled(["run"], ["PFLOP", *MACHINES, "GB"], name)
    costs = [(row, cost(run)) for row, run in rows]
    for row, one in costs:
        table.add_row(row, *_cells(one))
    total = Cost(sum(one.operations for _, one in costs), sum(one.moved for _, one in costs), 0)
    table.add_section()
    table.add_row("all, one after the other", *_cells(total)[:-1], f"{max(one.memory for _, one in costs) / 1e9:.1f}")
    terminal.console.print(table)
    terminal.say(
        f"tokens a batch {tokens.batch:,.0f} (the longest {tokens.longest:,}), a quiz batch {tokens.quiz:,.0f}; "
        f"{tokens.steps:,} steps an epoch; an estimate at {SHARE:.0%} of the peak, which nobody has run"
    )


def _cells(one: Cost) -> list[str]:
    times = [terminal.duration(3600 * one.hours(machine)) for machine in MACHINES]
    return [f"{one.operations / 1e15:,.1f}", *times, f"{one.memory / 1e9:.1f}"]


@cache
def shape(name: str) -> Shape:
    """The model that the slides mean by ``name``.

    Raises:
        UserError: for another name.
    """
    if name not in SHAPES:
        raise UserError(f"{name}: the shapes that are known here are {', '.join(SHAPES)}")
    import torch
    import transformers

    kind, options = SHAPES[name]
    config = getattr(transformers, kind)(**options, num_labels=2, attn_implementation="eager")
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config).train()  # type: ignore[no-untyped-call]
    embedded = sum(p.numel() for part, p in model.named_parameters() if "embeddings" in part)
    total = sum(p.numel() for p in model.parameters())
    return Shape(total, total - embedded, _kept(model))


def _kept(model: Any, rows: int = 32, length: int = 32) -> int:
    """Bytes a token that the forward pass of training keeps for the backward pass, weights not counted."""
    import torch

    weights = {id(parameter) for parameter in model.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if id(tensor) not in weights:
            storage = tensor.untyped_storage()
            found[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=torch.zeros(rows, length, dtype=torch.long, device="meta"))
    total: int = sum(size for size, _ in found.values())
    return total // (rows * length)


def count_tokens(run: Settings) -> Tokens:
    """Of the first epoch's batches, which are of like length; each padded to its longest row."""
    from kd_lab.batching import length_grouped, quiz_positions

    lengths, quiz = _lengths(catalogue.locate(run.student, run.models).folder, run.data)
    batches = length_grouped(lengths, run.batch_size, run.seed, 0)
    sizes = [len(batch) * max(lengths[position] for position in batch) for batch in batches]
    asked = [quiz_positions(quiz, run.method.quiz_batch_size, run.seed, number) for number in range(QUIZZES)]
    of_quiz = sum(len(batch) * max(quiz[position] for position in batch) for batch in asked) / QUIZZES
    return Tokens(sum(sizes) / len(sizes), max(sizes), of_quiz, len(batches))


@cache
def _lengths(folder: Path, data: Data) -> tuple[list[int], list[int]]:
    """Tokens of each training and of each quiz row, by the tokenizer in ``folder``."""
    from transformers import AutoTokenizer

    from kd_lab.encoding import Encoder

    rows, cut = sources.load_and_cut(data)
    encoder = Encoder(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), data.max_length)
    train, quiz = (encoder.encode([rows.texts[n] for n in part]).lengths.tolist() for part in (cut.train, cut.quiz))
    return train, quiz


if __name__ == "__main__":
    main()
