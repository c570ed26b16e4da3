"""The demo: which models, what they say, what moved them, and the page in a browser, on models that know the toy."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import demo_server
import pytest
import simulated
from demo_server import Demo, users
from shell import timed

import kd_lab
from kd_lab import finished
from kd_lab.demo import __main__ as door
from kd_lab.demo import answering, choosing, rendering, serving
from kd_lab.demo.answering import Answer, Panel, Part, Said
from kd_lab.errors import UserError
from kd_lab.results import Result

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

Opened: TypeAlias = "tuple[Page, list[str]]"
"""The page, and what was wrong with it: other hosts that it asks, errors, and windows of alert()."""
LOUD = "<script>alert(1)</script>"
HOSTILE = {
    "a script": LOUD,
    "a picture": "<img src=x onerror=alert(1)>",
    "a template of JavaScript": "${alert(1)}",
    "a template of Jinja": "{{ 7 * 191 }} {% for x in y %}",
    "the end of an attribute": '" onmouseover="alert(1)',
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MetaDistil with one and with two teachers."""
    folder = tmp_path_factory.mktemp("desk") / "outputs"
    for words in (["teacher=tiny-bert"], ["teacher=tiny-bert+tiny-roberta"]):
        quick = ["max_epochs=1", "trainer.enable_progress_bar=false", f"output_dir={folder}"]
        kd_lab.train(["experiment=smoke", *words, *quick])
    return folder


@pytest.fixture(scope="module")
def panel(outputs: Path) -> Panel:
    return Panel(door.read([f"output_dir={outputs}"]).found)


def test_the_newest_of_each_kind_and_their_teachers_are_found(outputs: Path) -> None:
    chosen = choosing.choose([], outputs)
    bert, roberta = (one.name for one in chosen[:2])
    assert [(one.role, one.shown) for one in chosen] == [
        ("teacher", "tiny-bert"),
        ("teacher", "tiny-roberta"),
        ("MetaDistil student", "tiny-distilbert"),
        ("two-teacher student", "tiny-distilbert"),
    ]
    assert [list(one.taught_by) for one in chosen] == [[], [], [bert], [bert, roberta]]


def test_all_are_of_the_data_of_the_newest_run(outputs: Path, tmp_path: Path) -> None:
    older = simulated.run(tmp_path, "kd", 0, student="older")
    os.utime(older / "result.json", (1, 1))
    newer = simulated.run(tmp_path, "kd", 1, student="newer")
    os.utime(newer / "result.json", (2, 2))
    assert [(one.role, one.name) for one in choosing.choose([], tmp_path)] == [("KD student", str(newer))]
    for path in outputs.iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert {one.shown for one in choosing.choose([], tmp_path)} == {"tiny-bert", "tiny-roberta", "tiny-distilbert"}


def test_named_models_go_before_what_would_be_found(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(outputs)
    (several,) = (path.name for path in outputs.glob("metadistil*and*"))
    (bert,) = (path.name for path in outputs.glob("finetune_tiny-bert*"))
    assert [one.role for one in choosing.choose([several], outputs)] == ["teacher", "teacher", "two-teacher student"]
    assert [one.role for one in choosing.choose([bert], outputs)] == ["fine-tuned model"]
    both = choosing.choose([several, bert], outputs)
    assert sorted(one.role for one in both) == ["teacher", "teacher", "two-teacher student"]
    kept = sorted((outputs / several / "teachers").iterdir())
    assert [one.role for one in choosing.choose([str(kept[1])], outputs)] == ["teacher"]
    with pytest.raises(UserError, match="name at most 6 models; got 7"):
        choosing.choose(list("abcdefg"), outputs)


def test_without_the_run_that_made_it_a_teacher_is_what_the_students_run_kept(outputs: Path, tmp_path: Path) -> None:
    (run,) = outputs.glob("metadistil_tiny-bert-to*")
    shutil.copytree(run, tmp_path / run.name)
    teacher, student = choosing.choose([], tmp_path)
    assert Path(teacher.name).parent == tmp_path / run.name / "teachers"
    assert list(student.taught_by) == [teacher.name]


def test_models_answer_as_transformers_does(panel: Panel) -> None:
    from transformers import pipeline

    text = "the film was a wonderful story"
    found = panel.answer(text)
    for member, said in zip(panel.members, found.said, strict=True):
        inner = finished.find(member.candidate.name, []).checkpoint.folder
        (expected,) = pipeline("text-classification", str(inner))(text)
        assert said.label == expected["label"]
        assert said.probability == pytest.approx(expected["score"], abs=1e-4)
        assert said.parameters == member.predictor.model.count_parameters()
        assert said.megabytes == pytest.approx(4 * said.parameters / 1e6, rel=0.2)
        assert said.milliseconds > 0


def test_a_words_mark_is_what_the_log_odds_lose_without_it(panel: Panel) -> None:
    text = "  a truly\nwonderful film "
    found = panel.answer(text)
    whole = found.whose
    assert whole is not None
    assert whole.role == "MetaDistil student"
    assert "".join(part.text for part in found.parts) == text.strip()

    def odds(said: str) -> float:
        logits = panel.marked.predictor.logits([said])[0].double().tolist()
        best = panel.marked.predictor.label_names.index(whole.label)
        return float(logits[best] - logits[1 - best])

    without = ["truly\nwonderful film", "a wonderful film", "a truly\nfilm", "a truly\nwonderful "]
    for part, rest in zip(found.parts, without, strict=True):
        assert part.moved == pytest.approx(odds(text.strip()) - odds(rest), abs=1e-4)
    assert max(abs(part.moved or 0) for part in found.parts) > 0.01


def test_any_text_gets_an_answer_of_bounded_length(panel: Panel) -> None:
    for text in ("", "   ", "\n\t"):
        found = panel.answer(text)
        assert (found.said, found.notes) == ((), ["There are no words to judge: type a sentence."])
    for text in (
        "x",
        "\u200b",
        "🙂🙂🙂",
        "这部电影很好看",
        "ужасный фильм",
        "a\0b \ud800 c",
        "!?",
        "x" * 5000,
        "مرحبا بالعالم",
    ):
        found = panel.answer(text)
        assert len(found.said) == 4
        assert 1 <= len(found.parts) <= answering.PARTS
    assert len(panel.answer("这部电影很好看").parts) == 7
    long = panel.answer("word " * 1000)
    assert (long.at_a_time, len(long.parts)) == (25, answering.PARTS)
    assert any("reads the first" in note for note in long.notes)
    cut = panel.answer("a" * 5001)
    assert len(cut.text) == 5000
    assert cut.notes[0] == "The text is longer than 5,000 characters: the rest was not read."
    assert any("does not know most of these words" in note for note in panel.answer("🙂 🙂 🙂").notes)


def said(role: str, label: str) -> Said:
    return Said(role, "m", label, 0.9, 1000, 0.1, 1.0)


def test_disagreement_is_with_ones_own_teacher(panel: Panel) -> None:
    labels = ["positive", "negative", "negative", "positive"]
    answers = [said(m.candidate.role, label) for m, label in zip(panel.members, labels, strict=True)]
    assert panel._disagreements(answers) == [
        "The MetaDistil student m says negative, its teacher m positive.",
        "The two-teacher student m says positive, its teacher m negative.",
    ]


def test_marks_are_darker_the_more_a_word_moved() -> None:
    parts = [Part("good ", 4.0, 0.2), Part("not ", -2.0, 0.99), Part("the ", 0.01, 0.9), Part(" ")]
    found = Answer("good not the", [said("model", "positive")], parts, said("model", "positive"))
    assert [rendering.level(part, found) for part in parts] == ["for-4", "against-2", "for-0", "for-0"]
    assert rendering.heaviest(found) == parts[:2]
    html = rendering.answer(found)
    assert '<span class="kd-for-4">good</span> <span class="kd-against-2">not</span>' in html
    assert "Without “<bdi>good</bdi>”: Positive" in html


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_was_typed_is_escaped(text: str) -> None:
    one = Said(text, text, text, 0.5, 1, 1, 1)
    html = rendering.answer(Answer(text, [one], [Part(text, 9.0, 0.1)], one, 1, [text], [text]))
    assert not re.search(r"<(script|img)", html)
    assert 'onmouseover="' not in html
    assert "1337" not in html


def test_the_report_is_shown_in_a_frame_where_no_script_runs(tmp_path: Path) -> None:
    assert "python -m kd_lab.report" in rendering.report(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text(f'<p class="x">{LOUD}</p>', encoding="utf-8")
    html = rendering.report(tmp_path)
    assert 'sandbox=""' in html
    assert 'srcdoc="&lt;p class=&#34;x&#34;&gt;&lt;script&gt;' in html


def test_help_is_quick(tmp_path: Path) -> None:
    seconds, done = timed("--help", folder=tmp_path, enough=1.5, door="demo")
    assert "python -m kd_lab.demo [RUN ...] [name=value ...]" in done.stdout
    assert seconds < 1.5


BAD = {
    "": "outputs holds no finished run; make one with python -m kd_lab.run experiment=quickstart, or name one",
    "tiny-bert models=tiny": "tiny-bert holds no trained classifier",
    "./outputs/none": "there is no model './outputs/none'",
    "port=high": "port=high: should be a valid integer",
    "port=65536": "port=65536: should be less than or equal to 65535",
    "host=": "host=: say what it should be, or leave it out",
}


@pytest.mark.parametrize("words", list(BAD)[:2])
def test_a_bad_word_is_refused_in_one_line_within_two_seconds(words: str, tmp_path: Path) -> None:
    seconds, done = timed(*words.split(), folder=tmp_path, enough=2, door="demo")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert BAD[words] in line
    assert list(tmp_path.iterdir()) == []
    assert seconds < 2


@pytest.mark.parametrize("words", list(BAD)[2:])
def test_a_bad_word_is_named(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        door.read(words.split())
    assert BAD[words] in str(caught.value)


def test_a_port_that_is_taken_leads_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving.listen("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with serving.listen("127.0.0.1", taken) as second:
            assert taken < second.getsockname()[1] <= taken + serving.NEXT
            assert serving.url(second) == f"http://127.0.0.1:{second.getsockname()[1]}"
        monkeypatch.setattr(serving, "NEXT", 0)
        with pytest.raises(UserError, match=f"port={taken}: it and the 0 after it are taken"):
            serving.listen("127.0.0.1", taken)
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(UserError, match=f"host={host}: "):
            serving.listen(host, 0)


@pytest.fixture(scope="module")
def demo(outputs: Path) -> Iterator[Demo]:
    pytest.importorskip("gradio")
    before = len(demo_server.asked)
    with pytest.MonkeyPatch.context() as patch, demo_server.here(["port=0", f"output_dir={outputs}"], patch) as started:
        yield started
    assert started.said[-1] == "stopped"
    assert demo_server.asked[before:] == []


def test_it_says_what_it_loaded_and_where_the_page_is(demo: Demo) -> None:
    assert demo.said[0] == "loading 4 models"
    assert re.fullmatch(r"MetaDistil student: tiny-distilbert \(.*/student\)", demo.said[3])
    assert re.fullmatch(r"the page is at http://127\.0\.0\.1:\d+; Ctrl-C ends it", demo.said[5])
    assert len(demo.said) == 6


@pytest.mark.slow
def test_a_process_of_its_own_warns_of_nothing_and_ends_with_ctrl_c(outputs: Path, tmp_path: Path) -> None:
    with demo_server.elsewhere(["port=0", f"output_dir={outputs}"], tmp_path) as (started, process):
        assert "Two-teacher student" in started.answer("a wonderful film")
    assert process.returncode == 0
    assert [line.partition(":")[0] for line in started.said] == [
        "loading 4 models",
        *("teacher", "teacher", "MetaDistil student", "two-teacher student"),
        "the page is at http",
        "stopped",
    ]


def test_many_users_at_once_are_answered(demo: Demo) -> None:
    answers = users(demo, 20, seconds=1)
    assert len(answers) >= 20
    assert all(answer.count("<tr>") == 5 for answer in answers)


@pytest.mark.slow
def test_twenty_users_for_half_a_minute_are_answered(demo: Demo) -> None:
    assert len(users(demo, 20, seconds=30)) >= 100


def test_what_is_too_large_or_a_file_is_refused(demo: Demo) -> None:
    import httpx

    with httpx.Client(base_url=demo.url, trust_env=False) as client:
        large = client.post("/gradio_api/call/answer", json={"data": ["x" * serving.LARGEST]})
        file = client.post("/gradio_api/upload", files={"files": b"x"})
        unmeasured = client.post("/gradio_api/call/answer", content=iter([b"{}"]))
        elsewhere = client.get("/gradio_api/proxy=http://192.0.2.1/")
        read = client.get("/gradio_api/file=/etc/passwd")
    assert [large.status_code, file.status_code, unmeasured.status_code] == [413, 404, 411]
    assert elsewhere.status_code >= 400
    assert read.status_code >= 400
    assert "object-src 'none'" in large.headers["content-security-policy"]


@pytest.fixture
def opened(demo: Demo, browser: "Browser") -> Iterator[Opened]:
    page, wrong = browser.new_page(viewport={"width": 390, "height": 900}, color_scheme="dark"), []

    def at(line: str, *, fine: bool = False) -> None:
        if not fine:
            wrong.append(line)

    def dismiss(dialog: "Dialog") -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda request: at(request.url, fine=not foreign(request.url, demo.url)))
    page.on("websocket", lambda socket: at(socket.url))
    page.on("console", lambda message: at(message.text, fine=message.type != "error"))
    page.on("pageerror", lambda error: at(str(error)))
    page.on("dialog", dismiss)
    page.goto(demo.url)
    yield page, wrong
    page.close()


def foreign(url: str, own: str) -> bool:
    return not url.startswith((f"{own}/", "data:", "blob:"))


def ask(page: "Page", text: str) -> str:
    """Type it, press the button, and read the answer."""
    page.evaluate("document.querySelector('.kd-answer')?.remove()")
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Ask all models").click()
    page.wait_for_selector("#answer .kd-answer")
    return page.locator("#answer").inner_text()


def test_a_person_asks_and_reads_what_each_model_says(opened: Opened) -> None:
    page, wrong = opened
    assert page.get_by_label("Text", exact=True).input_value() == "NLP is fun."
    ask(page, "NLP is fun.")
    assert set(page.locator(".kd-label").all_inner_texts()) <= {"Positive", "Negative"}
    assert page.locator(".kd-label").count() == 4
    roles = page.locator(".kd-role").all_inner_texts()
    assert roles == ["Teacher", "Teacher", "MetaDistil student", "Two-teacher student"]
    assert "There are no words to judge" in ask(page, "")
    assert LOUD in ask(page, LOUD)
    assert page.locator("#answer script").count() == 0
    for text in HOSTILE.values():
        assert " ".join(text.split()) in " ".join(ask(page, text).split())
    assert "Each 25 words together" in ask(page, "word " * 1000)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert wrong == []


def test_the_keyboard_is_enough(opened: Opened) -> None:
    page, wrong = opened
    page.get_by_label("Text", exact=True).fill("a wonderful film")
    page.get_by_label("Text", exact=True).press("Enter")
    page.wait_for_selector("#answer .kd-answer")
    page.get_by_label("Text", exact=True).press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Ask all models"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "a tedious, joyless mess":
            break
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.kd-text')?.textContent == 'a tedious, joyless mess'")
    assert page.get_by_label("Text", exact=True).input_value() == "a tedious, joyless mess"
    assert wrong == []


def test_the_report_stands_in_a_tab(opened: Opened, outputs: Path) -> None:
    page, wrong = opened
    page.get_by_role("tab", name="Report").click()
    page.wait_for_selector("#report .kd-answer")
    assert page.locator(".kd-command").inner_text() == f"python -m kd_lab.report {outputs}"
    (outputs / "report").mkdir()
    (outputs / "report" / "report.html").write_text(f"<h1>Eight runs</h1>{LOUD}", encoding="utf-8")
    page.get_by_role("tab", name="Ask").click()
    page.get_by_role("tab", name="Report").click()
    frame = page.frame_locator("#report iframe")
    assert frame.locator("h1").inner_text() == "Eight runs"
    # Chromium says in the console that it blocked the script.
    assert all("sandboxed" in line for line in wrong)


def test_the_page_cannot_ask_another_host(opened: Opened) -> None:
    page, wrong = opened
    page.evaluate("fetch('http://192.0.2.1/').catch(() => null)")
    page.evaluate("new Image().src = 'http://192.0.2.1/x.png'")

    def blocked() -> int:
        return len([line for line in wrong if "192.0.2.1" in line and "Content Security Policy" in line])

    for _ in range(100):
        if blocked() < 2:
            page.wait_for_timeout(100)
    assert blocked() >= 2


@pytest.mark.slow
def test_models_that_know_films_tell_praise_from_blame(quickstart: Result, browser: "Browser", tmp_path: Path) -> None:
    wanted = {"NLP is fun.": "Positive", "a tedious, joyless mess": "Negative"}
    with demo_server.elsewhere(["port=0", str(quickstart.folder)], tmp_path) as (started, _):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(started.url)
        for text, label in wanted.items():
            ask(page, text)
            assert page.locator(".kd-role").all_inner_texts() == ["Teacher", "MetaDistil student"]
            assert page.locator(".kd-label").all_inner_texts() == [label, label], text
        # What a reader would say decides: the student was moved by the same words.
        marked = page.locator(".kd-text [class^=kd-for]:not(.kd-for-0)").all_inner_texts()
        assert {"tedious,", "joyless", "mess"} & set(marked)
        page.close()
