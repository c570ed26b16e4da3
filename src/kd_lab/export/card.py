"""The model card of an export: how the model came about, what it can and cannot do, how to load it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kd_lab import significance
from kd_lab.export import bases
from kd_lab.export.bases import Base
from kd_lab.export.record import Export
from kd_lab.finished import Finished
from kd_lab.results import Result, Scores

UNKNOWN = "unknown: ask the base model's"
HUB_DATA = {"sst2": ("nyu-mll/glue", "sst2", "train, rows held out")}
"""Data sets that have a name on the model hub: its configuration there, and which of its rows are tested on."""
PIPELINE = """from transformers import pipeline
classify = pipeline("text-classification", ".")
print(classify("NLP is fun.", truncation=True))"""
SCRIPT = """import numpy
import onnxruntime
from tokenizers import Tokenizer

texts = ["NLP is fun.", "a tedious, joyless mess"]
columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
rows = Tokenizer.from_file("tokenizer.json").encode_batch(texts)
session = onnxruntime.InferenceSession("PATH")
inputs = {i.name: numpy.array([getattr(row, columns[i.name]) for row in rows]) for i in session.get_inputs()}
odds = numpy.exp(session.run(["logits"], inputs)[0])
for text, odd in zip(texts, odds):
    print(LABELS[odd.argmax()], odd.max() / odd.sum(), text)"""
"""For the card; onnxruntime, numpy and the tokenizers library alone."""


def text(found: Finished, export: Export, run: Result | None) -> str:
    """The card as Markdown; what users have named is escaped."""
    base, tested = bases.of(found), _tested(found, export, run)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (this is Markdown, escaped by the filter below)
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = in_markdown
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}"
    graph = next((w for w in (export.of("onnx"), export.of("int8")) if w and not w.refused), None)
    folder = export.of("folder")
    return environment.get_template("card.md").render(
        metadata=_metadata(export, run, base, tested).to_yaml(),
        export=export,
        run=run,
        base=base,
        licence=base.licence or UNKNOWN,
        tested=tested,
        interval=significance.share(round(tested.accuracy * tested.rows), tested.rows),
        noisy=run.under_noise if run and export.role == "student" else [],
        facts=list(_facts(found, export, run)),
        checked=sum(export.rows.values()),
        pipeline=PIPELINE if folder and not folder.refused else None,
        script=SCRIPT.replace("PATH", graph.path).replace("LABELS", repr(export.label_names)) if graph else None,
    )


def in_markdown(value: object) -> str:
    """``value`` as it is to be read, on one line."""
    return re.sub(r"([\\|*_`<>&~\[\]#])", r"\\\1", " ".join(str(value).split()))


def _tested(found: Finished, export: Export, run: Result | None) -> Scores:
    """The test scores that the run has of the original; where there is no run, those of the checked rows."""
    if run and export.role == "student":
        return run.student.test
    if run and found.teacher is not None:
        return run.teachers[found.teacher].test
    return Scores(accuracy=export.accuracy, loss=0, rows=sum(export.rows.values()))


def _facts(found: Finished, export: Export, run: Result | None) -> Iterator[tuple[str, object]]:
    """What is known of how it was made."""
    if not run or not found.run_folder:
        yield "run", "none is known"
        return
    teachers = " + ".join(teacher.name for teacher in run.teachers)
    yield "run", export.run
    yield "role in it", export.role
    yield "method", run.method
    yield "teachers", teachers or "none"
    yield "student", run.student.name
    yield "data", run.data.name
    yield "rows", ", ".join(f"{name} {count:,}" for name, count in run.data.sizes.items())
    yield "holdout", found.settings.data.holdout
    yield "noise on training rows", run.noise
    yield "epochs", f"best after {run.best_epoch} of {run.epochs}"
    yield "warm-up epochs", run.warmup_epochs
    yield "seed", run.seed
    yield "fingerprint", run.fingerprint[:8]


def _metadata(export: Export, run: Result | None, base: Base, tested: Scores) -> ModelCardData:
    method = [run.method] if run else []
    graphs = [w.format for w in export.weights if w.format != "folder" and not w.refused]
    name = str(export.data["name"])
    known, part, split = HUB_DATA.get(name, (None, None, None))
    options: dict[str, Any] = {"base_model": base.hub, "datasets": [known] if known else None}
    return ModelCardData(
        license=base.licence or "unknown",
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["text-classification", "knowledge-distillation", "kd_lab", *method, *graphs],
        metrics=["accuracy"],
        model_name=export.name,
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=known or name,
                dataset_name=name,
                dataset_config=part,
                dataset_split=split,
                metric_type="accuracy",
                metric_value=round(tested.accuracy, 4),
            )
        ],
        **{name: value for name, value in options.items() if value},
    )
