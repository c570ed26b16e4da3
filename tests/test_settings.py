"""Settings and what is said about bad ones."""

import pytest

from kd_lab import settings
from kd_lab.errors import UserError
from kd_lab.settings import CONF


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        settings.check(settings.compose(list(words)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_the_main_job() -> None:
    s = settings.check(settings.compose(["method=metadistil", "teacher=bert+roberta"]))
    assert (s.student, s.data.name, s.teacher_names) == ("distilbert", "sst2", ("bert", "roberta"))
    assert (s.batch_size, s.lr, s.teacher_finetune_lr, s.max_epochs, s.teacher_epochs) == (32, 7e-5, 5e-5, 3, 3)
    m = s.method
    assert (m.alpha, m.temperature, m.inner_lr, m.teacher_lr, m.teacher_every) == (0.5, 2, 5e-5, 2e-6, 1)
    assert s.data.sizes == {"train": 30_000, "quiz": 100, "validation": 872, "test": 2_000}
    assert s.logger.name == "wandb"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_composes(name: str) -> None:
    settings.check(settings.compose([f"experiment={name}"]))


def test_the_slides_setting() -> None:
    s = settings.check(settings.compose(["experiment=slides"]))
    assert (s.max_epochs, s.data.holdout, s.data.train) == (15, "row", 30_000)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method.alpha=1.5", "method.alpha=1.5: should be less than or equal to 1"),
        ("method.temperature=0", "method.temperature=0: should be greater than 0"),
        ("method.soft_loss=cosine", "'kl', 'mse_probabilities' or 'mse_logits'"),
        ("method.hypergradient=magic", "'forward_mode', 'finite_difference' or 'unrolled'"),
        ("method.inner_lr=-1", "method.inner_lr=-1: should be greater than 0"),
        ("method.teacher_every=0", "method.teacher_every=0: should be greater than or equal to 1"),
        ("max_epochs=0", "max_epochs=0: should be greater than or equal to 1"),
        ("max_epochs=two", "max_epochs=two: should be a valid integer"),
        ("seed=-1", "seed=-1: should be greater than or equal to 0"),
        ("patience=0", "patience=0: should be greater than or equal to 1"),
        ("lr=nan", "lr=nan: should be"),
        ("precision=16-mixed", "precision=16-mixed: should be 'float32', 'bf16-matmul' or 'bf16-mixed'"),
        ("noise.p=1.1", "noise.p=1.1: should be less than or equal to 1"),
        ("data.holdout=paragraph", "data.holdout=paragraph: should be 'row' or 'sentence'"),
        ("data.train=-3", "data.train=-3: should be greater than or equal to 1"),
        ("data.train=1.5", "data.train=1.5: should be"),
        ("data.train=1.0", "data.train=1.0: should be"),
        ("trainer.devices=2", "trainer.devices=2: should be 1"),
        ("+trainer.limit_train_batches=5", "trainer.limit_train_batches=5"),
        ("teacher=''", "teacher=: should"),
        ("data=files", "data.path must be set"),
        (
            "method=metadistill",
            "Could not find 'method/metadistill' Available options in 'method': finetune kd metadistil",
        ),
        ("method.alfa=0.5", "Could not override 'method.alfa'"),
    ],
)
def test_a_bad_setting_is_named_with_what_would_be_right(word: str, said: str) -> None:
    assert said in refusal(word)


def test_composing_leaves_a_hydra_of_the_users_own_alone() -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        assert settings.compose(["experiment=smoke"]).student == "tiny-distilbert"
        assert GlobalHydra.instance().hydra is own


def test_a_model_comes_from_one_place() -> None:
    assert "models.bert: a model comes from exactly one of hub, package, random and stand_in" in refusal(
        "models.bert.hub=null"
    )
