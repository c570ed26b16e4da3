"""The door that answers to any texts, as a person uses it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from shell import kd_lab, timed

import kd_lab as package
from kd_lab import doors, finished, predict, predicting, sources, texts
from kd_lab.errors import UserError
from kd_lab.results import Result
from kd_lab.texts import NumberedText, Source

ODD = ["", "  ", "😀 한 é\u0301", "a\u2028b\x00c\x1b[1m", '"quoted", <b>', "word " * 5000, "last"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    words = ["experiment=smoke", "method=finetune", "student=tiny-bert", "max_epochs=2"]
    folder = tmp_path_factory.mktemp("predicted")
    return package.train([*words, f"output_dir={folder}", "trainer.enable_progress_bar=false"])


def answers(run: Result, file: Path, *words: str) -> list[dict[str, Any]]:
    output = file.with_suffix(".answers")
    predict.answer(predict.read([str(run.folder), str(file), f"output={output}", *words]))
    return [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n")[:-1]]


def test_every_line_is_answered_in_order_whatever_stands_on_it(run: Result, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    many = [*ODD, *(f"word{'s' * (n % 7)} " * (1 + n % 13) for n in range(200))]
    file.write_text("\n".join(many), encoding="utf-8", newline="\n")
    found = answers(run, file, "batch_size=2")
    assert [row["text"] for row in found] == many
    assert [row["line"] for row in found] == [*range(1, len(many) + 1)]
    for row in found:
        assert list(row["probability"]) == ["negative", "positive"]
        assert sum(row["probability"].values()) == pytest.approx(1, abs=2e-6)
        assert row["label"] == max(row["probability"], key=row["probability"].get)


def test_it_answers_as_the_run_did(run: Result, tmp_path: Path) -> None:
    found = finished.find(str(run.folder), ["precision=float32"])
    rows = sources.load(found.settings.data)
    file = tmp_path / "all.txt"
    file.write_text("".join(f"{text}\r\n" for text in rows.texts), encoding="utf-8", newline="")
    said = [row["label"] for row in answers(run, file)]
    saved = (run.folder / "predictions" / "test.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(saved) == run.student.test.rows
    for row in saved:
        number, _, _, prediction, *_ = row.split(",")
        assert said[int(number)] == prediction


def test_tables_and_objects_are_read_by_their_column(run: Result, tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_bytes('\ufeffid,body\n1,"two\nlines"\n\n2,"say ""no"""\n3\n'.encode())
    assert [(row["line"], row["text"]) for row in answers(run, table, "text=body")] == [
        (2, "two\nlines"),
        (5, 'say "no"'),
        (6, ""),
    ]
    objects = tmp_path / "own.jsonl"
    objects.write_bytes(b'{"text": "half \\ud83d"}\n\n{"text": 3, "more": []}\r\n')
    assert [(row["line"], row["text"]) for row in answers(run, objects)] == [(1, "half \ud83d"), (3, "3")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,body\n1,x\n", "text=text: .* has no such column; it has id, body"),
        ("a.jsonl", b'{"body": "x"}\n', "line 1 is no object with 'text'; it has body"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "line 2 is no object with 'text'"),
        ("a.jsonl", b"{\n", "line 1 is not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1 is not JSON"),
        ("a.txt", b"fine\n\xff\n", "line 2 is not UTF-8"),
        ("a.json", b"{}", "cannot read .json; give lines, .csv, .tsv or .jsonl"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(Source(tmp_path / name, "text"))


def test_an_error_comes_after_all_that_came_before_it() -> None:
    def lines() -> Iterator[NumberedText]:
        yield from (NumberedText(n, "x") for n in range(5))
        raise UserError("no further")

    read = texts.chunks(lines(), 3)
    assert [[line.number for line in chunk] for chunk in (next(read), next(read))] == [[0, 1, 2], [3, 4]]
    with pytest.raises(UserError, match="no further"):
        next(read)


def test_half_a_batch_answers_as_a_whole_one(run: Result) -> None:
    predictor = predicting.Predictor(finished.find(str(run.folder), ["precision=float32"]))
    together = predictor.logits(ODD)
    apart = torch.cat([predictor.logits([text]) for text in ODD])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_slow_lines_are_answered_as_they_come_and_a_broken_pipe_ends_quietly(run: Result, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kd_lab.predict", str(run.folder)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "LC_ALL": "C"}, **pipes) as door:
        assert door.stdin is not None
        assert door.stdout is not None
        assert door.stderr is not None
        door.stdin.write("é\n".encode())
        door.stdin.flush()
        row = json.loads(door.stdout.readline())
        assert (row["line"], row["text"]) == (1, "é")
        door.stdout.close()
        for _ in range(3):
            if door.poll() is None:
                time.sleep(0.5)
                try:
                    door.stdin.write(b"more\n")
                    door.stdin.flush()
                except BrokenPipeError:
                    break
        assert door.wait(20) == 0
        assert door.stderr.read() == b""


def test_a_name_may_end_in_an_equals_sign() -> None:
    ways, rest = doors.own(predict.Ways, ["text=a=", "seed=1"])
    assert (ways.text, rest) == ("a=", ["seed=1"])


def test_a_file_may_be_called_as_an_option_is() -> None:
    ways, rest = doors.own(predict.Ways, ["RUN", "text", "text=first", "text=review"])
    assert (ways.text, rest) == ("review", ["RUN", "text"])


def test_usage_and_bad_words_are_answered_quickly(run: Result, tmp_path: Path) -> None:
    seconds, done = timed("--help", folder=tmp_path, enough=1.5, door="predict")
    assert done.stdout.startswith("What a finished student or teacher says")
    assert seconds < 1.5
    own = tmp_path / "own.txt"
    own.write_text("x\n", encoding="utf-8")
    done = kd_lab(str(run.folder), "nowhere.txt", folder=tmp_path, door="predict")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kd_lab: nowhere.txt: there is no such file of texts; - is standard input\n"
    bad: dict[tuple[str, ...], str] = {
        (str(own), "more.txt"): "name one run, at most one file",
        (str(own), f"output={own}"): f"output={own}: holds the texts; name another file",
        ("text=",): "text=: say what it should be, or leave it out",
        ("precison=float32",): "Could not override 'precison'",
    }
    for words, said in bad.items():
        with pytest.raises(UserError, match=re.escape(said)):
            predict.read([str(run.folder), *words])
    assert own.read_text(encoding="utf-8") == "x\n"
