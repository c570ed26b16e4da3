import pytest
import torch

from kd_lab import measures

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 1, 0])
TEXTS = ["one", "one two three four five", "a b c d e f", " ".join("w" * 40), " ".join("w" * 41)]


def test_each_measure_is_its_formula() -> None:
    found = measures.measure(LOGITS, LABELS, TEXTS, ("bad", "good"))
    # Right, right, wrong, right, right: bad 2 of 3 said, 2 of 2 found; good 2 of 2 said, 2 of 3 found.
    assert found.accuracy == pytest.approx(0.8)
    assert found.f1 == pytest.approx({"bad": 0.8, "good": 0.8})
    assert found.macro_f1 == pytest.approx(0.8)
    assert found.confusion == [[2, 0], [1, 2]]
    sure = LOGITS.softmax(-1).max(-1).values
    right = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    bins = (sure * measures.BINS).long()
    gaps = [(right[bins == b].sum() - sure[bins == b].sum()).abs() / 5 for b in set(bins.tolist())]
    assert found.calibration_error == pytest.approx(float(sum(gaps)), abs=1e-6)
    picked = LOGITS.log_softmax(-1)[torch.arange(5), LABELS]
    assert found.loss == pytest.approx(-picked.mean().item(), abs=1e-6)


def test_lengths_are_counted_in_words_and_every_text_once() -> None:
    found = measures.measure(LOGITS, LABELS, TEXTS, ("bad", "good")).by_length
    assert [(part.shortest, part.longest, part.rows, part.accuracy) for part in found] == [
        (0, 5, 2, 1.0),
        (6, 10, 1, 0.0),
        (21, 40, 1, 1.0),
        (41, None, 1, 1.0),
    ]


def test_a_label_that_is_not_there_is_in_no_mean() -> None:
    found = measures.measure(torch.eye(3)[[0, 1]] * 4, torch.tensor([0, 1]), ["a"] * 2, ("x", "y", "z"))
    assert found.f1 == pytest.approx({"x": 1.0, "y": 1.0, "z": 0.0})
    assert found.macro_f1 == pytest.approx(1.0)


def test_three_labels() -> None:
    logits = torch.eye(3)[[0, 1, 2, 2]] * 4
    found = measures.measure(logits, torch.tensor([0, 1, 2, 0]), ["a"] * 4, ("x", "y", "z"))
    assert found.accuracy == pytest.approx(0.75)
    assert found.confusion == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert found.f1 == pytest.approx({"x": 2 / 3, "y": 1.0, "z": 2 / 3})
