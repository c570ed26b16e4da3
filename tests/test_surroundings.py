"""What surrounds a process: its streams, variables, working folder and words, and the files of rows it is given."""

import gzip
import os
import pty
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import kd_lab
from kd_lab import composition, doors, downloads, evaluate, experiment, machine, sources, streams
from kd_lab.errors import UserError
from kd_lab.results import Result
from kd_lab.settings import Settings
from kd_lab.stopping import between_steps

QUICK = ("experiment=smoke", "method=finetune", "student=tiny-bert", "max_epochs=1", "data.rows=120")
DOOR = [sys.executable, "-m", "kd_lab.run", *QUICK]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run that a process finds finished and shows, arrows and table and all, without importing torch."""
    folder = tmp_path_factory.mktemp("tüte →") / "outputs"
    return kd_lab.train([*QUICK, f"output_dir={folder}", "trainer.enable_progress_bar=false"])


@pytest.fixture
def home(finished: Result) -> Path:
    return finished.folder.parents[1]


def in_shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``command`` in bash, where RUN stands for the finished run's command; returns what came out, as bytes allow."""
    known = {**os.environ, "PY": sys.executable, "WORDS": " ".join(QUICK), **environment}
    wanted = {name: value for name, value in known.items() if value != "UNSET"}
    whole = f'set -o pipefail; RUN() {{ "$PY" -m kd_lab.run $WORDS "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", whole], cwd=folder, env=wanted, capture_output=True, errors="backslashreplace", check=False
    )  # fmt: skip


# Streams


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_where_a_terminal_knows_no_arrows_plain_signs_are_written(encoding: str, home: Path) -> None:
    done = in_shell('RUN "output_dir=$PWD/outputs"', home, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "found finished: finetune: tiny-bert on toy" in done.stdout
    said = done.stdout.splitlines()[-1]
    assert said.startswith("everything is in /")
    assert "te ->" in said  # the folder is called tüte →


def test_where_the_locale_is_ascii_words_of_other_letters_are_refused_and_all_else_goes_well(home: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = in_shell("RUN", home, **plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "found finished" in done.stdout
    done = in_shell('RUN "output_dir=$PWD/outputs"', home, **plain)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("is not UTF-8: give it another name, or set PYTHONUTF8=1")


def test_signs_have_plain_stand_ins() -> None:
    assert "bert → tiny ±1 × … ☺".encode("ascii", "kd_lab") == b"bert -> tiny +-1 x ... ?"
    assert "a\ud800b".encode("utf-8", "kd_lab") == b"a?b"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("RUN >&-", 0, ""),
        ("RUN <&-", 0, ""),
        ("RUN <&- >&- 2>&-", 0, ""),
        ("RUN student=bort 2>&-", 2, ""),
        ("RUN student=bort 2>/dev/full", 2, ""),
        ("RUN >/dev/full", 0, "kd_lab: standard output cannot be written (No space left on device): going on"),
        ("RUN | true", 0, ""),
        ("RUN --help | true", 0, ""),
        ('"$PY" -m kd_lab.evaluate --help | true', 0, ""),
        ("RUN --cfg job >/dev/full", 0, "kd_lab: standard output cannot be written (No space left on device): going"),
    ],
)
def test_a_stream_that_is_closed_or_full_or_broken_stops_nothing(
    command: str, code: int, error: str, home: Path
) -> None:
    done = in_shell(command, home)
    assert done.returncode == code
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == bool(error)


def test_a_pipe_that_breaks_while_a_run_trains_costs_nothing(
    compose: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody quits the pager; the stream is this test's own, not the process's."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        with streams.careful():
            result = experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=1", "data.rows=110"))
        monkeypatch.undo()
        assert (result.folder / "result.json").is_file()
        with pytest.raises(BrokenPipeError):
            broken.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_a_stream_that_was_closed_later_takes_everything_and_is_no_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        careful = streams.Careful(lambda: file)
        assert careful.write("one") == 3
    assert careful.write("two") == 3
    careful.flush()
    assert not careful.isatty()
    assert (tmp_path / "log").read_text(encoding="utf-8") == "one"


def test_a_door_gives_back_the_streams_it_found() -> None:
    before = sys.stdout, sys.stderr

    def act() -> None:
        assert sys.stdout is not before[0]
        with doors.one_line_errors():
            raise UserError("no")

    with pytest.raises(SystemExit), doors.one_line_errors():
        act()
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("environment", [{"COLUMNS": "1"}, {"TERM": "dumb"}, {"COLUMNS": "no", "LINES": "-1"}], ids=str)
def test_a_terminal_of_any_kind_shows_the_result(environment: dict[str, str], home: Path, finished: Result) -> None:
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as reader:
        known = {**os.environ, **environment}
        with subprocess.Popen(DOOR, cwd=home, env=known, stdout=terminal, stderr=terminal, stdin=terminal) as process:
            os.close(terminal)
            said = b""
            try:
                while part := reader.read(4096):
                    said += part
            except OSError:  # so a terminal says that nobody writes to it any more
                pass
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert finished.folder.name.encode() in said.replace(b"\r\n", b"")


# Variables and the working folder


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "UNSET"},
        {"TMPDIR": "/nowhere/at/all"},
        {"LANG": "tlh_KL.KOI8", "LC_ALL": "nonsense"},
        {"PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1"},
    ],
    ids=str,
)
def test_a_finished_run_is_found_whatever_the_variables_say(environment: dict[str, str], home: Path) -> None:
    done = in_shell("RUN", home, **environment)
    assert done.returncode == 0, done.stderr
    assert "found finished" in done.stdout
    # Some systems' bash adds the reason.
    of_bash = r"bash: warning: setlocale: LC_ALL: cannot change locale \(nonsense\)(: No such file or directory)?\n"
    assert re.fullmatch(f"({of_bash})?", done.stderr)


def test_a_cache_folder_that_is_not_absolute_is_ignored_and_no_home_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KD_LAB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert downloads.cache_folder() == tmp_path / ".cache" / "kd_lab"
    monkeypatch.setenv("XDG_CACHE_HOME", "/absolute")
    assert downloads.cache_folder() == Path("/absolute/kd_lab")

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UserError, match="no home folder for downloads: set KD_LAB_CACHE"):
        downloads.cache_folder()


@pytest.mark.slow
def test_threads_that_are_no_number_stop_nothing(finished: Result, tmp_path: Path) -> None:
    """OpenMP says one line of its own, and takes its own default."""
    command = [sys.executable, "-m", "kd_lab.evaluate", str(finished.folder), "split=validation"]
    garbage = {**os.environ, "OMP_NUM_THREADS": "garbage", "MKL_NUM_THREADS": "-7", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, cwd=tmp_path, env=garbage, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["datasets/__init__.py", "torch.py", "csv.py", "yaml.py", "hydra/__init__.py"])
def test_a_module_of_the_working_folder_is_not_taken_for_a_library(name: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('a module of the working folder was run')", encoding="utf-8")
    (tmp_path / "outputs").symlink_to(home / "outputs")
    done = in_shell("RUN", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "found finished" in done.stdout


def test_pip_is_never_a_module_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(UserError, match="pip could not bring thing==1"):
        downloads.from_pip("thing==1", "0" * 64)
    assert not (tmp_path / "ran").exists()


# Words

NAMES = ["two words", "a=b", "a+b", "-dash", "it's", 'a "quote"', "tüte ☺ 模型", "a#b", "a(b)", "a\nb", "back\\slash"]
NAMES += ["ends\\", "per%cent", "$HOME", "~tilde", "a*b", "[a]", "a::b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_be_called_anything(
    name: str, finished: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data.path, output_dir and the RUN of evaluate, each as the word that a shell hands on."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.csv").write_text("text,label\n" + "a,1\nb,0\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("text,label\nc,1\nd,0\n", encoding="utf-8")
    given = [f"data.path={folder / name}.csv", f"output_dir={folder}", "data=files"]
    s = composition.settings_of(given)
    assert s.output_dir == folder
    assert list(sources.load(s.data).texts) == ["a", "b"]
    (folder / "run").symlink_to(finished.folder)
    monkeypatch.chdir(tmp_path)
    assert evaluate.ask([f"{name}/run"]).run_folder == Path(name) / "run"


def test_words_that_hydra_reads_are_left_as_they_are() -> None:
    plain = [
        "-m",
        "--config-dir",
        "seed=1,2",
        "lr=1e-3",
        "a={b:1}",
        "+a=[1,2]",
        "data.path=a b",
        "x='q=r'",
        "~x",
        "+y=range(3)",
        "z=0,",
        "z=ü,ö",
        "=",
    ]
    assert composition.readable(plain) == plain
    assert composition.readable(["x=it's\\", "y=["]) == ["x='it\\'s\\\\'", "y=["]


@pytest.mark.parametrize("word", ["data.path=a,b.csv", "data.path={a}.csv", "data.path=[a.csv", "data.path=${a}.csv"])
def test_a_word_that_only_quotes_can_say_is_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, doors.one_line_errors():
        sources.load(composition.settings_of(["data=files", word]).data)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "data.path" in line


def test_a_name_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    command: list[Any] = [*DOOR, b"output_dir=gr\xfcn"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "kd_lab: 'output_dir=gr\\udcfcn' is not UTF-8: give it another name, or set PYTHONUTF8=1"
    assert list(tmp_path.iterdir()) == []


# Files of rows

BODY = "text,label\n" + "".join(f"film {i} was good,{i % 2}\n" for i in range(6))
TEXTS = [f"film {i} was good" for i in range(6)]


def load(path: Path, *more: str) -> sources.Rows:
    return sources.load(composition.settings_of(["data=files", f"data.path={path}", *more]).data)


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("bom.csv", b"\xef\xbb\xbf" + BODY.encode(), TEXTS),
        ("bom.jsonl", b'\xef\xbb\xbf{"text":"a","label":1}\n{"text":"b","label":0}\n', ["a", "b"]),
        ("crlf.csv", BODY.replace("\n", "\r\n").encode(), TEXTS),
        ("cr.csv", BODY.replace("\n", "\r").encode(), TEXTS),
        ("nul.csv", BODY.replace("film 2", "fi\0lm 2").encode(), [t.replace("film 2", "fi\0lm 2") for t in TEXTS]),
        ("giant.csv", (BODY + "x" * 1_000_000 + ",1\n").encode(), [*TEXTS, "x" * 1_000_000]),
        ("no_last_line_break.csv", BODY.rstrip().encode(), TEXTS),
        ("squeezed.csv", gzip.compress(BODY.encode()), TEXTS),
        ("twice.csv", b"text,text,label\na,x,1\nb,y,0\n", ["a", "b"]),
        (
            "quote_inside.csv",
            BODY.replace("film 2", 'fi"lm 2').encode(),
            [t.replace("film 2", 'fi"lm 2') for t in TEXTS],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_odd_file_is_read_as_it_is_meant(name: str, content: bytes, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert list(load(tmp_path / name).texts) == texts


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("latin.csv", BODY.replace("was", "f\xfcr").encode("latin-1"), "cannot be read as UTF-8 csv: 'utf-8' codec"),
        ("utf16.csv", BODY.encode("utf-16"), "cannot be read as UTF-8 csv"),
        ("never_closed.csv", (BODY + '"open,1\nmore,0\n').encode(), "EOF inside string"),
        ("ragged.csv", (BODY + "a,b,c,d\n").encode(), "Expected 2 fields in line 8, saw 4"),
        ("header_alone.csv", b"text,label\n", "cannot be read as UTF-8 csv"),
        ("semicolons.csv", BODY.replace(",", ";").encode(), "has no such column; it has text;label"),
        ("zip.csv", b"PK\x03\x04" + b"\0" * 99, "cannot be read as UTF-8 csv"),
        ("number.json", b"3", "cannot be read as UTF-8 json"),
        ("half_a_letter.jsonl", b'{"text":"a\\ud800","label":1}\n', "cannot be read as UTF-8 json"),
        ("cut_off.parquet", b"PAR1" + b"\0" * 50, "cannot be read as UTF-8 parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line_and_no_remark_of_a_library(
    name: str, content: bytes, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended, doors.one_line_errors():
        load(tmp_path / name)
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert name in line
    assert said in line


@pytest.mark.parametrize(
    ("name", "said"), [("two\nlines", "data.path=two lines.csv: there is no such file"), ("n\n" * 150, "too long")]
)
def test_a_name_with_a_line_break_is_complained_of_in_one_line(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), doors.one_line_errors():
        load(Path(f"{name}.csv"))
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("kind", ["a folder", "a link to itself", "a dangling link", "a pipe", "too long a name"])
def test_what_is_no_file_is_refused_in_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / (("n" * 300 if kind == "too long a name" else "rows") + ".csv")
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path)
    elif kind == "a dangling link":
        path.symlink_to(tmp_path / "nowhere.csv")
    elif kind == "a pipe":
        os.mkfifo(path)
    with pytest.raises(SystemExit), doors.one_line_errors():
        load(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert ("too long; choose a shorter name" if kind == "too long a name" else "there is no such file") in line


@pytest.mark.parametrize("squeezed", [False, True], ids=["plain", "gzip"])
def test_a_file_is_what_stands_in_it_now_whatever_its_time_says(
    squeezed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and times are not content: an archive unpacked over another keeps the times of its files.

    Nor is a copy of the rows left anywhere.
    """
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "kept")
    path = tmp_path / "rows.csv"

    def write(text: str) -> None:
        path.write_bytes(gzip.compress(text.encode(), mtime=0) if squeezed else text.encode())
        os.utime(path, (2**32, 2**32))

    write(BODY)
    assert list(load(path).texts) == TEXTS
    write(BODY.replace("good", "evil"))
    assert list(load(path).texts) == [text.replace("good", "evil") for text in TEXTS]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows.csv"]


def glue(folder: Path, train: bytes | None) -> list[str]:
    (folder / "dev.tsv").write_text("sentence\tlabel\nok\t1\n", encoding="utf-8")
    (folder / "train.tsv").mkdir() if train is None else (folder / "train.tsv").write_bytes(train)
    return list(sources.load(composition.settings_of(["data=sst2", f"data.path={folder}"]).data).texts)


GLUE = "sentence\tlabel\ngood\t1\nbad\t0\n"


@pytest.mark.parametrize(
    ("train", "texts"),
    [
        (b"\xef\xbb\xbf" + GLUE.encode(), ["good", "bad", "ok"]),
        (GLUE.replace("\n", "\r\n").encode(), ["good", "bad", "ok"]),
        (GLUE.replace("bad", "b\0d").encode(), ["good", "b\0d", "ok"]),
        (GLUE.replace("bad", "x" * 200_000).encode(), ["good", "x" * 200_000, "ok"]),
        (GLUE.replace("bad", '"bad').encode(), ["good", '"bad', "ok"]),
        (GLUE.replace("bad", "b\u2028a\x0bd").encode(), ["good", "b\u2028a\x0bd", "ok"]),
    ],
    ids=["bom", "crlf", "nul", "giant", "quote", "other line ends"],
)
def test_an_odd_glue_file_is_read_as_it_is_meant(train: bytes, texts: list[str], tmp_path: Path) -> None:
    assert glue(tmp_path, train) == texts


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (None, r"train.tsv cannot be read \(Is a directory\)"),
        (gzip.compress(GLUE.encode()), r"train.tsv is not UTF-8 \(byte 1\)"),
        (GLUE.encode("utf-16"), "train.tsv is not UTF-8"),
    ],
    ids=["a folder", "gzip", "utf-16"],
)
def test_a_glue_file_that_cannot_be_read_is_one_line(train: bytes | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        glue(tmp_path, train)


def test_an_archive_of_rows_that_is_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "b")
    monkeypatch.setattr(downloads, "from_pip", lambda *args, **options: tmp_path / "a.zip")
    with pytest.raises(UserError, match=r"a\.zip does not hold the sentences of vaderSentiment"):
        sources.load(composition.settings_of(["data=snippets"]).data)


def test_a_device_without_memory_is_one_line_that_says_what_to_do(compose: Callable[..., Settings]) -> None:
    trainer = machine.trainer(compose(), "here", logger=False)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ):
        with pytest.raises(UserError, match=r"memory.*: set micro_batch_size "), between_steps(trainer):
            raise error
    with pytest.raises(RuntimeError, match="a bug"), between_steps(trainer):
        raise RuntimeError("a bug")
