"""Settings and what is said about bad ones."""

import pytest

from kd_lab import composition
from kd_lab.composition import CONF
from kd_lab.settings import Method


def teaching(method: Method) -> tuple[float, float, int]:
    return method.teacher_lr, method.label_loss, method.teacher_every


def test_the_defaults_are_the_main_job() -> None:
    s = composition.settings_of(["method=metadistil", "teacher=bert+roberta"])
    assert (s.student, s.data.name, s.teacher_names) == ("distilbert", "sst2", ("bert", "roberta"))
    assert (s.batch_size, s.lr, s.teacher_finetune_lr, s.max_epochs, s.teacher_epochs) == (32, 7e-5, 5e-5, 3, 3)
    m = s.method
    assert (m.alpha, m.temperature, m.inner_lr) == (0.5, 2, 5e-5)
    assert teaching(m) == (2e-5, 0.02, 4)
    assert s.data.sizes == {"train": 30_000, "quiz": 100, "validation": 872, "test": 2_000}
    assert s.logger.name == "wandb"


def test_what_others_did_does_not_follow_our_defaults() -> None:
    names = ["published", *(path.stem for path in (CONF / "experiment").glob("table*"))]
    methods = [composition.settings_of([f"experiment={name}"]).method for name in names]
    assert [teaching(m) for m in methods if m.name == "metadistil"] == [(2e-6, 0, 1)] * 12


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_composes(name: str) -> None:
    composition.settings_of([f"experiment={name}"])


def test_the_slides_setting() -> None:
    s = composition.settings_of(["experiment=slides"])
    assert (s.max_epochs, s.data.holdout, s.data.train) == (15, "row", 30_000)


def test_composing_leaves_a_hydra_of_the_users_own_alone() -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        assert composition.compose(["experiment=smoke"]).student == "tiny-distilbert"
        assert GlobalHydra.instance().hydra is own
