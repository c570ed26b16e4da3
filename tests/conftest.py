"""Tiny random models, tokenizers trained on the spot and toy sentences; see kd_lab.toy."""

import os

# Before anything imports the hub's client, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from chromium import CHROMIUM
from torch import nn

from kd_lab import catalogue, composition, experiment, models, quiet, sources, splits
from kd_lab.data import TextDataModule
from kd_lab.models import Classifier
from kd_lab.results import Result
from kd_lab.settings import Settings

TINY = {"bert": "tiny-bert", "distilbert": "tiny-distilbert", "roberta": "tiny-roberta"}
LABELS = ("negative", "positive")


@pytest.fixture(scope="session", autouse=True)
def _quiet_and_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread per test process, no W&B settings, no hub, and a cache of its own where none is given."""
    quiet.transformers()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("OMP_NUM_THREADS", "1")
        if "KD_LAB_CACHE" not in os.environ:
            patch.setenv("KD_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; what asks for it is skipped where there is none."""
    driver = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no chromium here")
    with driver.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The finished run of experiment=quickstart as it is shipped: real weights, real sentences, minutes."""
    folder = tmp_path_factory.mktemp("quickstart")
    words = ["experiment=quickstart", "logger=csv", "trainer.enable_progress_bar=false", f"output_dir={folder}"]
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return experiment.train(composition.settings_of(words))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a smoke run with further words, writing below the test's own folder."""

    def make(*words: str, experiment: str = "smoke") -> Settings:
        quietly = ["trainer.enable_progress_bar=false", f"output_dir={tmp_path / 'outputs'}"]
        return composition.settings_of([f"experiment={experiment}", *quietly, *words])

    return make


@pytest.fixture
def classifier() -> Callable[..., Classifier]:
    """A random classifier, with a given probability in every dropout."""
    known = composition.settings_of(["experiment=smoke"]).models

    def make(kind: str, seed: int = 0, dropout: float = 0.0) -> Classifier:
        torch.manual_seed(seed)
        made = models.load(catalogue.locate(TINY[kind], known), LABELS, 64)
        for module in made.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        return made.train()

    return make


@pytest.fixture
def toy_data() -> Callable[..., TextDataModule]:
    """The toy sentences, for given models."""

    def make(members: Sequence[Classifier], rows: int = 200, **options: object) -> TextDataModule:
        data = composition.settings_of(["data=toy", f"data.rows={rows}", "experiment=smoke"]).data
        table = sources.load(data)
        cut = splits.cut(table.texts, table.labels, data.sizes, data.holdout, data.seed)
        return TextDataModule(table, cut, [member.encoder for member in members], **options)  # type: ignore[arg-type]

    return make
