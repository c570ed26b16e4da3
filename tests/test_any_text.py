"""Whatever stands in a file of rows goes through noise, tokenizers and models."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kd_lab.data import EncodedRows, OnePass
from kd_lab.models import Classifier
from kd_lab.noise import Noise
from kd_lab.sources import Rows

KINDS = ("bert", "distilbert", "roberta")
NOISES = ("none", "word", "vocabulary", "deletion", "swap", "typos")
LONG = st.text(alphabet="a .\u200d\u0301é😀한", max_size=3000)
TEXT = st.text(max_size=300) | LONG


def answered(models: list[Classifier], texts: list[str], noise: Noise) -> None:
    """Every model answers every text with numbers."""
    rows = Rows(texts=texts, labels=[0] * len(texts), label_names=("negative", "positive"), empty=0)
    part = EncodedRows(rows, range(len(texts)), [model.encoder for model in models], noise=noise)
    for batch in OnePass(part, epoch=3):
        for model in models:
            with torch.no_grad():
                logits = model.eval()(batch)
            assert logits.shape == (len(batch), 2)
            assert torch.isfinite(logits).all()


@pytest.fixture
def models(classifier: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    # Thousands of texts that nobody asks for again need not be kept.
    monkeypatch.setattr("kd_lab.data.tensor_cache.cached", lambda kind, key, make: make())
    return [classifier(kind) for kind in KINDS]


ANY: Any = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=25, **ANY)
@given(texts=st.lists(TEXT, min_size=1, max_size=20), kind=st.sampled_from(NOISES), p=st.floats(0, 1))
def test_some_texts(models: list[Classifier], texts: list[str], kind: str, p: float) -> None:
    answered(models, texts, Noise(kind, p, 0, ("word", "")))


@pytest.mark.reliability
def test_ten_thousand_texts(models: list[Classifier], capsys: pytest.CaptureFixture[str]) -> None:
    seen = 0

    @settings(max_examples=500, **ANY)
    @given(texts=st.lists(TEXT, min_size=20, max_size=40), kind=st.sampled_from(NOISES), p=st.floats(0, 1))
    def many(texts: list[str], kind: str, p: float) -> None:
        nonlocal seen
        seen += len(texts)
        answered(models, texts, Noise(kind, p, 0, ("word", "")))

    many()
    with capsys.disabled():
        print(f"{seen:,} texts")
    assert seen >= 10_000
