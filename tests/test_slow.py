"""With the real weights and the real sentences that package registries carry."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from shell import kd_lab
from torch.nn.functional import cosine_similarity

from kd_lab import catalogue, composition, files, hypergradient, models, sources, splits
from kd_lab.data import TextDataModule
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import TeacherEnsemble
from kd_lab.results import Result

pytestmark = pytest.mark.slow

WORDS = ["experiment=quickstart", "logger=csv", "trainer.enable_progress_bar=false"]


def test_minilm_is_the_hubs_file_and_fewer_layers_are_its_first() -> None:
    s = composition.settings_of(WORDS)
    whole = catalogue.locate("minilm", s.models)
    expected = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert files.sha256_of(whole.folder / "model.safetensors") == expected
    full = dict(models.load(whole, ("a", "b"), 128).named_parameters())
    for name, layers in (("minilm2", 2), ("minilm3", 3), ("minilm5", 5)):
        model = models.load(catalogue.locate(name, s.models), ("a", "b"), 128)
        assert model.model.config.num_hidden_layers == layers
        body = {key: value for key, value in model.named_parameters() if "classifier" not in key}
        assert all(torch.equal(value, full[key]) for key, value in body.items())


def test_the_snippets_are_the_sentences_of_the_package() -> None:
    rows = sources.load(composition.settings_of(WORDS).data)
    assert len(rows.texts) == 10_072
    assert 0.45 < Counter(rows.labels)[1] / len(rows.labels) < 0.55
    assert all(text.strip() == text and text for text in rows.texts)


@pytest.mark.parametrize("way", ["reverse_mode", "forward_mode", "finite_difference"])
def test_on_real_weights_in_float32_the_ways_agree_with_the_yardstick(way: str) -> None:
    torch.manual_seed(0)
    s = composition.settings_of(WORDS)
    rows = sources.load(s.data)
    cut = splits.cut(rows.texts, rows.labels, {**s.data.sizes, "train": 64}, s.data.holdout, s.data.seed)
    student, teacher = (
        models.load(catalogue.locate(name, s.models), rows.label_names, 64) for name in ("minilm3", "minilm")
    )
    data = TextDataModule(rows, cut, [student.encoder, teacher.encoder])
    method = MetaDistil(student, TeacherEnsemble([teacher]), quiz=data.quiz_batch)
    method.train()
    batch = data.parts["train"].batch(range(16))

    def gradient(name: str) -> torch.Tensor:
        torch.manual_seed(1)
        parts = hypergradient.HYPERGRADIENTS[name](method.lesson(batch, method.quiz_of(0))).gradients
        return torch.cat([part.flatten() for part in parts]).double()

    yardstick = gradient("unrolled")
    assert cosine_similarity(gradient(way), yardstick, dim=0) > 0.99999
    assert (gradient(way) - yardstick).norm() < 1e-3 * yardstick.norm()


def test_the_quickstart_as_it_is_shipped(quickstart: Result) -> None:
    """4,000 rows and two epochs of plain fine-tuning give a student of 79% and a teacher of 85%."""
    method = composition.settings_of(WORDS).method
    assert method.alpha >= 0.5
    assert method.teacher_every == 1
    assert quickstart.teacher_updates >= 120
    assert quickstart.student.test.accuracy >= 0.77
    assert quickstart.teachers[0].accuracy_before >= 0.82


def test_the_wheel_brings_its_settings_and_runs_from_any_folder(tmp_path: Path) -> None:
    """Beside the installed libraries, before the checkout on the path."""
    project, place = Path(__file__).parents[1], tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(project)], check=True)
    (wheel,) = tmp_path.glob("kd_lab-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place), str(wheel)], check=True)
    done = kd_lab("experiment=smoke", "method=finetune", "student=tiny-bert", folder=tmp_path, PYTHONPATH=str(place))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs").is_dir()
    where = "import kd_lab, kd_lab.composition; print(kd_lab.__file__, kd_lab.composition.CONF)"
    said = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(path.startswith(str(place)) for path in said.stdout.split())
