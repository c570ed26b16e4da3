"""The page itself: a text goes in, the answers of all models come out."""

from pathlib import Path

import gradio as gr

from kd_lab.demo import rendering
from kd_lab.demo.answering import LONGEST, Panel

EXAMPLES = [
    "NLP is fun.",
    "a tedious, joyless mess",
    "It is not that the film is bad; it is that it never once tries to be good.",
    "Oh, wonderful: two more hours of my life that nobody will give back.",
    "I went in expecting to hate it, and could not.",
    "The actors are splendid, the music is lovely, and I would not sit through it again for money.",
    "For the first half hour I was sure that somebody had made a mistake: the pictures were grey, nobody spoke, and a "
    "dog walked through a field. Then, without any music to tell me so, I found that I was holding my breath. By the "
    "time the dog came home I had forgotten that I was in a cinema at all, and I walked back through the rain smiling "
    "at strangers.",
]
"""The first is the one to begin with; after it negation, irony, an unexpected turn, praise that is none, a long one."""
MOST_WAITING = 200
HEADING = """# kd_lab
Teachers, and the students that learned from them, on any sentence."""
ANNOUNCE = "() => document.getElementById('answer')?.setAttribute('aria-live', 'polite')"


def build(panel: Panel, output_dir: Path) -> gr.Blocks:
    """The page of ``panel``, with the report of the runs in ``output_dir``."""

    def answered(text: str) -> str:
        return rendering.answer(panel.answer(text))

    blocks: gr.Blocks = gr.Blocks(title="kd_lab", analytics_enabled=False)
    with blocks:
        gr.Markdown(HEADING)
        with gr.Tab("Ask"):
            # One line that grows: Enter submits, Shift+Enter breaks the line.
            text = gr.Textbox(label="Text", value=EXAMPLES[0], lines=1, max_lines=8, max_length=LONGEST, autofocus=True)
            ask = gr.Button("Ask all models", variant="primary")
            answer = gr.HTML(elem_id="answer", js_on_load=None)
            gr.Examples(
                EXAMPLES,
                text,
                answer,
                answered,
                cache_examples=False,
                run_on_click=True,
                example_labels=[_short(example) for example in EXAMPLES],
                api_visibility="private",
            )
        with gr.Tab("Report") as tab:
            report = gr.HTML(elem_id="report", js_on_load=None)
        gr.on(
            [ask.click, text.submit],
            answered,
            text,
            answer,
            api_name="answer",
            concurrency_limit=1,
            show_progress="minimal",
        )
        tab.select(lambda: rendering.report(output_dir), None, report, api_visibility="private")
        blocks.load(None, None, None, js=ANNOUNCE)
    blocks.queue(max_size=MOST_WAITING, api_open=False)
    return blocks


def theme() -> gr.themes.Base:
    """Of gradio's, with the letters that the reader's system has: no font is fetched."""
    own = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
    fixed = [gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")]
    plain = gr.themes.Default(primary_hue="cyan", neutral_hue="slate", font=own, font_mono=fixed)
    # White letters on gradio's own cyan are hard to read.
    return plain.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


def _short(text: str) -> str:
    return text if len(text) <= 70 else f"{text[:69].rstrip()}…"
