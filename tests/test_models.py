from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

from kd_lab import catalogue, composition, models
from kd_lab.data import TextDataModule
from kd_lab.encoding import Encoder
from kd_lab.errors import UserError
from kd_lab.models import Classifier, TeacherEnsemble

# The architectures as their model cards give them; the counts are the reference slides'.
ARCHITECTURES: list[tuple[str, dict[str, Any], int]] = [
    ("bert", {}, 109_483_778),
    ("roberta", {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}, 124_647_170),
    ("distilbert", {}, 66_955_010),
    ("bert", {"hidden_size": 312, "num_hidden_layers": 4, "intermediate_size": 1200}, 14_350_874),
]


@pytest.mark.parametrize(("kind", "options", "parameters"), ARCHITECTURES)
def test_parameters_are_counted_as_in_the_slides(
    kind: str, options: dict[str, Any], parameters: int, classifier: Callable[..., Classifier]
) -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(kind, num_labels=2, **options)
        )
    encoder: Encoder = classifier("bert").encoder
    assert Classifier("counted", model, encoder).count_parameters() == parameters


def test_the_ensemble_averages_logits(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    members = [classifier("bert", 1).eval(), classifier("roberta", 2).eval(), classifier("bert", 3).eval()]
    batch = toy_data(members).parts["train"].batch(range(5))
    ensemble = TeacherEnsemble(members)
    each = ensemble.member_logits(batch)
    assert each.shape == (3, 5, 2)
    for member, logits in zip(members, each, strict=True):
        assert torch.equal(member(batch), logits)
    assert torch.allclose(ensemble(batch), (each[0] + each[1] + each[2]) / 3)


def test_a_student_starts_in_train_mode_with_dropout() -> None:
    known = composition.settings_of(["experiment=smoke"]).models
    student = models.load(catalogue.locate("tiny-bert", known), ("a", "b"), 64)
    assert all(module.training for module in student.modules())


def test_the_head_depends_on_the_random_state_alone() -> None:
    known = composition.settings_of(["experiment=smoke"]).models
    checkpoint = catalogue.locate("tiny-bert", known)

    def head(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return models.load(checkpoint, ("a", "b", "c"), 64).model.classifier.weight  # type: ignore[no-any-return]

    assert head(0).shape == (3, 32)
    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_a_saved_classifier_is_a_pipeline_with_readable_labels(
    kind: str, tmp_path: Path, classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    model = classifier(kind).eval()
    model.save(tmp_path / kind)
    classify = pipeline("text-classification", str(tmp_path / kind), top_k=None)
    part = toy_data([model]).parts["test"]
    ours = model(part.batch([0]))[0].softmax(-1)
    answers: Any = classify([part.rows.texts[part.numbers[0]]])
    theirs = {answer["label"]: answer["score"] for answer in answers[0]}
    assert set(theirs) == {"negative", "positive"}
    assert theirs["positive"] == pytest.approx(ours[1].item(), rel=1e-5)


def test_fewer_layers_are_the_first_ones(classifier: Callable[..., Classifier], tmp_path: Path) -> None:
    whole = classifier("bert")
    whole.save(tmp_path / "whole")
    first = models.load(catalogue.Checkpoint("first", tmp_path / "whole", layers=1), ("negative", "positive"), 64)
    assert first.model.config.num_hidden_layers == 1
    kept = dict(whole.model.named_parameters())
    assert all(torch.equal(value, kept[name]) for name, value in first.model.named_parameters())


def test_a_teacher_without_a_trained_head_is_refused() -> None:
    known = composition.settings_of(["experiment=smoke"]).models
    with pytest.raises(UserError, match="lacks the weights classifier"):
        models.load(catalogue.locate("tiny-bert", known), ("a", "b"), 64, trained=True)


def test_a_head_for_other_labels_is_refused(classifier: Callable[..., Classifier], tmp_path: Path) -> None:
    classifier("bert").save(tmp_path / "two")
    with pytest.raises(UserError, match="holds no model that fits"):
        models.load(catalogue.locate(str(tmp_path / "two"), {}), ("a", "b", "c"), 64, trained=True)
