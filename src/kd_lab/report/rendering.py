"""The tables as Markdown, CSV, LaTeX and on the terminal: the same texts, each escaped for where it stands."""

import csv
import io
import re
from collections.abc import Sequence

from rich.markup import escape

from kd_lab import terminal
from kd_lab.report.tables import WORDS, Table

LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "→": r"$\to$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
}
PREAMBLE = r"% \usepackage[T1]{fontenc} \usepackage{booktabs,graphicx}"


def markdown(title: str, tables: Sequence[Table], lists: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A page of ``tables`` and of ``lists``, each under its heading."""
    parts = [f"# {in_markdown(title)}"]
    parts += [of_table(table, "##") for table in tables]
    for heading, lines in lists:
        if lines:
            parts += [f"## {in_markdown(heading)}", "\n".join(f"- {in_markdown(line)}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def of_table(table: Table, level: str = "###") -> str:
    """``table`` in Markdown under its title, a heading of ``level``."""
    parts = [f"{level} {in_markdown(table.title)}", "\n".join(_markdown_rows(table)), *map(in_markdown, table.below)]
    return "\n\n".join(parts)


def _markdown_rows(table: Table) -> list[str]:
    rule = ["---" if heading in WORDS else "---:" for heading in table.headings]
    lines = [[*map(in_markdown, table.headings)], rule, *([*map(in_markdown, row)] for row in table.rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def in_markdown(text: str) -> str:
    """``text`` as it is to be read, on one line."""
    return re.sub(r"([\\|*_`<&~]|(?<=\])\()", r"\\\1", " ".join(text.split()))


def latex(tables: Sequence[Table]) -> str:
    """One ``table`` with a ``tabular`` of booktabs for each, no wider than the page."""
    return "\n".join([PREAMBLE, *map(_latex, tables)]) + "\n"


def _latex(table: Table) -> str:
    columns = "".join("l" if heading in WORDS else "r" for heading in table.headings)
    rows = [" & ".join(map(in_latex, row)) + r" \\" for row in (table.headings, *table.rows)]
    return "\n".join(
        [
            "\n\\begin{table}\n\\centering",
            rf"\caption{{{in_latex(' '.join([table.title + '.', *table.below]))}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}" + "\n\\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            "\\bottomrule\n\\end{tabular}}\n\\end{table}",
        ]
    )


def in_latex(text: str) -> str:
    """``text`` with LaTeX's own signs escaped and mathematical ones in mathematics."""
    escaped = "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
    signed = re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)
    # After \\ a bracket would be an argument.
    return f"{{}}{signed}" if signed.startswith("[") else signed


def comma_separated(rows: Sequence[Sequence[str]]) -> str:
    """As a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def show(tables: Sequence[Table], lists: Sequence[tuple[str, Sequence[str]]]) -> None:
    """On the terminal."""
    for table in tables:
        shown = terminal.ruled((), (), table.title)
        for heading in table.headings:
            words = heading in WORDS
            shown.add_column(escape(heading), justify="left" if words else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        terminal.console.print(shown)
    for heading, lines in lists:
        for line in lines:
            terminal.say(f"{heading}: {line}")
