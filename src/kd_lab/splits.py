"""Which rows train, which make the quiz, which validate and which test: functions of the texts and a seed."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kd_lab.errors import UserError

HEAD = 4  # words
Size = int | float
"""A whole number counts texts; a fraction below 1 is a share of the distinct texts."""


@dataclass(frozen=True)
class Splits:
    """Row numbers of each split, counted through the rows of the source, and how many rows were left out and why.

    No text, after normalising case and spaces, stands in two splits or twice in one.
    """

    train: tuple[int, ...]
    quiz: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def items(self) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Name and row numbers of each split."""
        return (("train", self.train), ("quiz", self.quiz), ("validation", self.validation), ("test", self.test))


def normal(text: str) -> str:
    """The form in which two texts are the same text: lower case, single spaces."""
    return " ".join(text.lower().split())


def cut(
    texts: Sequence[str],
    labels: Sequence[int],
    sizes: Mapping[str, Size],
    holdout: str,
    seed: int,
    validation: range | None = None,
) -> Splits:
    """Cut the rows into train, quiz, validation and test.

    Args:
        texts, labels: the rows of the source.
        sizes: of each of the four splits.
        holdout: ``row`` cuts at random; ``sentence`` keeps out of train what stands inside or around a held-out text
            (see docs/data.md). Rows set apart are held out by their text alone.
        seed: of the data, not of the run: every seed, method and teacher sees the same rows.
        validation: rows that the source itself sets apart for validation.

    Raises:
        UserError: if a split is larger than what there is to draw from.
    """
    contradictory, distinct = _distinct(texts, labels)
    known = {normal(texts[row]) for row in validation or ()}
    pool = {text: row for text, row in distinct.items() if text not in known}
    counts = {name: _count(name, size, len(pool)) for name, size in sizes.items()}
    draw = random.Random(f"splits/{seed}")
    parts: dict[str, list[int]] = {}
    held_out = ["test", "quiz", "validation"]
    if validation is not None:
        held_out.remove("validation")
        apart = [row for row in distinct.values() if row in validation]
        parts["validation"] = _take("validation", draw.sample(apart, len(apart)), counts["validation"])
    cutter = {"row": _by_row, "sentence": _by_sentence}[holdout]
    parts |= cutter(pool, {name: counts[name] for name in held_out}, counts["train"], draw)
    dropped = {
        "both labels": contradictory,
        "repeated": len(texts) - contradictory - len(distinct),
        "not drawn": len(distinct) - sum(map(len, parts.values())),
    }
    return Splits(**{name: tuple(rows) for name, rows in parts.items()}, dropped=dropped)


def rest(texts: Sequence[str], labels: Sequence[int], splits: Splits, holdout: str) -> tuple[int, ...]:
    """The rows that no split has touched in any way: a large test set that nobody has looked at before.

    Args:
        texts, labels: the rows of the source.
        splits: of them.
        holdout: ``row`` leaves out the texts of all splits; ``sentence`` what stands inside or around a text of theirs
            as well.
    """
    _, distinct = _distinct(texts, labels)
    used = {normal(texts[row]) for row in (*splits.train, *splits.quiz, *splits.validation, *splits.test)}
    if holdout == "row":
        return tuple(row for text, row in distinct.items() if text not in used)
    inside = containing_roots(tuple(distinct))
    touched = {root for text in used for root in inside[text]}
    return tuple(row for text, row in distinct.items() if touched.isdisjoint(inside[text]))


def sentences(texts: Sequence[str], labels: Sequence[int], rows: Sequence[int]) -> list[int]:
    """For each of ``rows`` the number of the row whose text is the longest that it stands inside of: its sentence."""
    _, distinct = _distinct(texts, labels)
    inside = containing_roots(tuple(distinct))
    return [distinct[inside[normal(texts[row])][0]] for row in rows]


def _distinct(texts: Sequence[str], labels: Sequence[int]) -> tuple[int, dict[str, int]]:
    """Rows whose text stands there with two labels, counted; of all other texts the last row, so that a row set apart
    for validation (they come last) is never shadowed by its repetition.
    """
    keys = [normal(text) for text in texts]
    seen: dict[str, set[int]] = {}
    for key, label in zip(keys, labels, strict=True):
        seen.setdefault(key, set()).add(label)
    contradictory = sum(len(seen[key]) > 1 for key in keys)
    return contradictory, {key: row for row, key in enumerate(keys) if len(seen[key]) == 1}


def _count(name: str, size: Size, available: int) -> int:
    count = size if isinstance(size, int) else int(size * available)
    if count < 1:
        raise UserError(f"data.{name}={size} leaves no row of {available} texts; it needs at least 1")
    return count


def _take(name: str, rows: Sequence[int], count: int) -> list[int]:
    if count > len(rows):
        raise UserError(f"data.{name}={count} is more than there is: at most {len(rows)} texts are left for {name}")
    return list(rows[:count])


def _by_row(
    pool: Mapping[str, int], held_out: Mapping[str, int], train: int, draw: random.Random
) -> dict[str, list[int]]:
    rows = list(pool.values())
    draw.shuffle(rows)
    parts = {}
    # Train is cut last: its size changes no other split.
    for name, count in [*held_out.items(), ("train", train)]:
        parts[name] = _take(name, rows, count)
        rows = rows[count:]
    return parts


def _by_sentence(
    pool: Mapping[str, int], held_out: Mapping[str, int], train: int, draw: random.Random
) -> dict[str, list[int]]:
    """Held-out texts are roots, texts that stand inside no other; train takes texts inside none of their roots."""
    inside = containing_roots(tuple(pool))
    roots = [text for text, around in inside.items() if around == [text]]
    draw.shuffle(roots)
    position = {root: i for i, root in enumerate(roots)}
    parts, start = {}, 0
    for name, count in held_out.items():
        chosen = _take(name, [pool[root] for root in roots[start:]], count)
        parts[name] = chosen
        start += count
    span = {
        text: (min(map(position.__getitem__, around)), max(map(position.__getitem__, around)))
        for text, around in inside.items()
    }
    free = sorted((hi, row) for text, row in pool.items() for lo, hi in [span[text]] if lo >= start)
    parts["train"] = _take("train", [row for _, row in free], train)
    return parts


@lru_cache(maxsize=2)
def containing_roots(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """For each distinct normal text the roots in which it stands as a run of whole words; a root is in itself alone.

    Found longest first: a text that no longer text has claimed is a root and claims every run of its words that is
    itself a text. What stands inside a text stands inside that text's roots, so the runs of the roots suffice.
    """
    inside: dict[str, list[str]] = {text: [] for text in texts}
    lengths: dict[str, set[int]] = defaultdict(set)
    for text in inside:
        lengths[_head(text)].add(text.count(" ") + 1)
    for text in sorted(inside, key=lambda text: text.count(" "), reverse=True):
        if inside[text]:
            continue
        for run in _runs(text, lengths):
            around = inside.get(run)
            if around is not None and (not around or around[-1] != text):
                around.append(text)
    return inside


def _head(text: str) -> str:
    """Its first words: as many as there may be in a head."""
    return " ".join(text.split(" ", HEAD)[:HEAD])


def _runs(text: str, lengths: Mapping[str, set[int]]) -> Iterable[str]:
    """The runs of words in ``text`` that begin as a text does, by its head, and are as long: few of all its runs."""
    starts = [0, *(i + 1 for i, character in enumerate(text) if character == " ")]
    ends = [*(start - 1 for start in starts[1:]), len(text)]
    for first, start in enumerate(starts):
        for last in range(first, min(first + HEAD, len(ends))):
            for length in lengths.get(text[start : ends[last]], ()):
                if first + length <= len(ends):
                    yield text[start : ends[first + length - 1]]
