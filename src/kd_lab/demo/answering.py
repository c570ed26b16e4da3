"""What the models say of a text, and how much each of its words moved a student's answer."""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_lab.demo.choosing import Candidate
from kd_lab.finished import Finished
from kd_lab.predicting import Predictor

LONGEST = 5_000
"""Characters of a text; whatever comes after is cut off."""
PARTS = 40
"""Of a text at most; the words of a longer one are left out several at a time."""
WORD = re.compile(r"[぀-鿿가-힯]|[^\s぀-鿿가-힯]+")
"""Between blanks; a sign each of Chinese, Japanese and Korean."""


@dataclass(frozen=True)
class Said:
    """One model's answer.

    Attributes:
        role, name: of the model.
        label: that it chose.
        probability: of that label, in [0, 1].
        parameters: of the model.
        megabytes: of its weights on the disk, in 10⁶ bytes.
        milliseconds: from the text to the answer, tokenizing included.
    """

    role: str
    name: str
    label: str
    probability: float
    parameters: int
    megabytes: float
    milliseconds: float


@dataclass(frozen=True)
class Part:
    """A piece of the text with the blanks after it.

    Attributes:
        text: of it.
        moved: by how much the log-odds of the answer fall when it is left out; None for blanks before the first word.
        without: the probability of the answer when it is left out, in [0, 1].
    """

    text: str
    moved: float | None = None
    without: float = 0.0


@dataclass(frozen=True)
class Answer:
    """Of all models to one text.

    Attributes:
        text: that was read.
        said: in the order of the models.
        parts: of the text, in order.
        whose: the answer that the parts moved.
        at_a_time: words that a part holds, but for the last.
        disagreements, notes: lines.
    """

    text: str = ""
    said: Sequence[Said] = ()
    parts: Sequence[Part] = ()
    whose: Said | None = None
    at_a_time: int = 1
    disagreements: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Member:
    """A model in memory."""

    candidate: Candidate
    predictor: Predictor
    megabytes: float

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return self.candidate.shown


class Panel:
    """Models that answer together; one text at a time, whoever asks.

    Args:
        found: the models, at least one.
    """

    def __init__(self, found: Sequence[tuple[Candidate, Finished]]):
        self.members = [_member(candidate, finished) for candidate, finished in found]
        self.marked = next((m for m in self.members if m.candidate.taught_by), self.members[-1])
        # Kernels and precision are switched for the whole process.
        self.lock = threading.Lock()
        self.answer("The first answer of a model takes longer than all others.")

    def answer(self, text: str) -> Answer:
        """What every model says of ``text``; nothing of one without words."""
        notes = [f"The text is longer than {LONGEST:,} characters: the rest was not read."] if text[LONGEST:] else []
        # No tokenizer takes half of a surrogate pair.
        text = text[:LONGEST].encode("utf-8", "replace").decode("utf-8").strip()
        if not WORD.search(text):
            return Answer(notes=["There are no words to judge: type a sentence."])
        with self.lock:
            said = [self._says(member, text) for member in self.members]
            parts, at_a_time = self._moved(text)
            notes += [line for member in self.members for line in _unread(member, text)]
        whose = said[self.members.index(self.marked)]
        return Answer(text, said, parts, whose, at_a_time, self._disagreements(said), notes)

    def _says(self, member: Member, text: str) -> Said:
        start = time.perf_counter()
        logits = member.predictor.logits([text])[0]
        milliseconds = 1000 * (time.perf_counter() - start)
        best = int(logits.argmax())
        return Said(
            role=member.candidate.role,
            name=member.name,
            label=member.predictor.label_names[best],
            probability=float(logits.softmax(dim=-1)[best]),
            parameters=member.predictor.model.count_parameters(),
            megabytes=member.megabytes,
            milliseconds=milliseconds,
        )

    def _moved(self, text: str) -> tuple[list[Part], int]:
        """Leave-one-out (Li, Monroe and Jurafsky, *Understanding Neural Networks through Representation Erasure*,
        arXiv 1612.08220): the answer with each part of the text erased, in log-odds.
        """
        spans, at_a_time = _spans(text)
        logits = self.marked.predictor.logits([text, *(text[:start] + text[end:] for start, end in spans)])
        best = int(logits[0].argmax())
        odds, probabilities = _log_odds(logits, best), logits.softmax(dim=-1)[:, best]
        parts = [Part(text[: spans[0][0]])] if spans[0][0] else []
        parts += [
            Part(text[start:end], float(odds[0] - odds[i]), float(probabilities[i]))
            for i, (start, end) in enumerate(spans, 1)
        ]
        return parts, at_a_time

    def _disagreements(self, said: Sequence[Said]) -> list[str]:
        """Each student that says something else than a teacher of its own."""
        by_name = {member.candidate.name: answer for member, answer in zip(self.members, said, strict=True)}
        return [
            f"The {answer.role} {answer.name} says {answer.label}, its teacher {teacher.name} {teacher.label}."
            for member, answer in zip(self.members, said, strict=True)
            for teacher in (by_name[name] for name in dict.fromkeys(member.candidate.taught_by) if name in by_name)
            if teacher.label != answer.label
        ]


def _member(candidate: Candidate, finished: Finished) -> Member:
    predictor = Predictor(finished)
    bytes_ = sum(path.stat().st_size for path in finished.checkpoint.folder.glob("*.safetensors"))
    return Member(candidate, predictor, bytes_ / 1e6)


def _unread(member: Member, text: str) -> list[str]:
    """What a model cannot know of the text: its end, or words that its tokenizer has no piece for."""
    encoder = member.predictor.model.encoder
    ids = encoder.tokenizer(text, truncation=False, verbose=False)["input_ids"]
    unknown = ids.count(encoder.tokenizer.unk_token_id)
    lines = []
    if len(ids) > encoder.max_length:
        lines.append(f"{member.name} reads the first {encoder.max_length} of the {len(ids):,} tokens.")
    if 2 * unknown >= len(ids) - encoder.tokenizer.num_special_tokens_to_add() > 0:
        lines.append(f"{member.name} does not know most of these words: its answer says little.")
    return lines


def _spans(text: str) -> tuple[list[tuple[int, int]], int]:
    """Where each part begins and ends, at most ``PARTS`` of as many words each, and how many words that is."""
    starts = [found.start() for found in WORD.finditer(text)]
    at_a_time = -(-len(starts) // PARTS)
    heads = starts[::at_a_time]
    return list(zip(heads, [*heads[1:], len(text)], strict=True)), at_a_time


def _log_odds(logits: Tensor, label: int) -> Tensor:
    """Log p − log(1 − p) of ``label``, [N], from logits [N, C]."""
    others = [i for i in range(logits.shape[1]) if i != label]
    return logits[:, label] - torch.logsumexp(logits[:, others], dim=1)
