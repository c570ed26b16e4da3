"""From sentences to padded tensors: each distinct tokenizer encodes a text once, whoever shares it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor

from kd_lab import batching

Encoding = dict[str, Tensor]
"""One batch's: input_ids, attention_mask and token_type_ids, [B, L] each."""


@dataclass(frozen=True)
class Encoded:
    """N texts without padding, end to end.

    Attributes:
        tokens: [T] ids of all tokens.
        types: [T] token types.
        starts: [N + 1], where each text begins, and T.
    """

    tokens: Tensor
    types: Tensor
    starts: Tensor

    @property
    def lengths(self) -> Tensor:
        """Tokens per text, [N]."""
        return self.starts.diff()

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass
class Batch:
    """What every model of a run gets; each takes its own tokenizer's encoding.

    Attributes:
        rows: [B], the row numbers in the source.
        labels: [B].
        inputs: tokenizer key -> input_ids, attention_mask and token_type_ids, [B, L] each; L differs by tokenizer.
        clean: the same without noise, where the teachers see the sentences without it; else empty.
    """

    rows: Tensor
    labels: Tensor
    inputs: dict[str, Encoding]
    clean: dict[str, Encoding] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, size: int | None) -> "list[Batch]":
        """Micro-batches of at most ``size`` rows, in order; the batch itself without ``size``."""
        if size is None or size >= len(self):
            return [self]
        everyone = torch.arange(len(self), device=self.labels.device)
        return [self._only(some) for some in torch.split(everyone, size)]

    def share(self, number: int, count: int) -> "Batch | None":
        """Part ``number`` of ``count``, in order, of sizes a row apart at most; None where there are too few rows."""
        everyone = torch.arange(len(self), device=self.labels.device)
        parts = torch.tensor_split(everyone, min(count, len(self)))
        return self._only(parts[number]) if number < len(parts) else None

    def of_like_length(self, key: str, start: int) -> "list[Batch]":
        """Parts with less padding, by the lengths in the encoding ``key``: :func:`kd_lab.batching.of_like_length`."""
        lengths = self.inputs[key]["attention_mask"].sum(dim=1).tolist()
        groups = batching.of_like_length(lengths, start)
        return [self._only(torch.tensor(some, device=self.labels.device)) for some in groups]

    def _only(self, some: Tensor) -> "Batch":
        inputs, clean = (
            {key: _narrowed({name: tensor[some] for name, tensor in seen.items()}) for key, seen in kinds.items()}
            for kinds in (self.inputs, self.clean)
        )
        return Batch(self.rows[some], self.labels[some], inputs, clean)

    def for_teachers(self) -> "Batch":
        """The batch as the teachers see it."""
        return replace(self, inputs=self.clean) if self.clean else self


def _narrowed(encoding: Encoding) -> Encoding:
    """Without columns that are padding in every row, but for what makes the width a multiple."""
    mask = encoding["attention_mask"]
    columns = int(mask.sum(dim=1).max())
    width = min(mask.shape[1], -(-columns // batching.COLUMNS_TOGETHER) * batching.COLUMNS_TOGETHER)
    some = slice(0, width) if mask[:, 0].all() else slice(mask.shape[1] - width, None)
    return {name: tensor[:, some] for name, tensor in encoding.items()}


class Encoder:
    """A tokenizer with a length limit.

    Args:
        tokenizer: of transformers.
        max_length: tokens, special ones included; the tokenizer's own smaller limit goes before it.

    Attributes:
        key: the same for two that turn every text into the same ids.
    """

    def __init__(self, tokenizer: Any, max_length: int):
        self.tokenizer = tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.key = f"{_key(tokenizer)}-{self.max_length}"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Texts without padding."""
        options = {"return_attention_mask": False, "return_token_type_ids": True}
        table = self.tokenizer(list(texts), truncation=True, max_length=self.max_length, **options) if texts else {}
        # A text without any token is one of padding: a model needs something to read.
        ids = [each or [self.tokenizer.pad_token_id] for each in table.get("input_ids", [])]
        types = [each or [self.tokenizer.pad_token_type_id] for each in table.get("token_type_ids", [])]
        return Encoded(
            torch.tensor(list(chain.from_iterable(ids)), dtype=torch.int32),
            torch.tensor(list(chain.from_iterable(types)), dtype=torch.uint8),
            torch.tensor([0, *accumulate(map(len, ids))]),
        )

    def pad(self, encoded: Encoded, positions: Sequence[int] | None = None) -> Encoding:
        """A batch of the texts at ``positions``, or of all, padded to its longest."""
        chosen = torch.arange(len(encoded)) if positions is None else torch.tensor(positions)
        starts, lengths = encoded.starts[chosen, None], encoded.lengths[chosen, None]
        columns = torch.arange(self.width(int(lengths.max())))[None]
        if self.tokenizer.padding_side == "left":
            columns = columns - (columns.shape[1] - lengths)
        there = (columns >= 0) & (columns < lengths)
        places = (starts + columns).where(there, 0)
        return {
            "input_ids": encoded.tokens[places].long().where(there, self.tokenizer.pad_token_id),
            "token_type_ids": encoded.types[places].long().where(there, self.tokenizer.pad_token_type_id),
            "attention_mask": there.long(),
        }

    def width(self, longest: int) -> int:
        """The width of a batch whose longest text has ``longest`` tokens."""
        return longest


def _key(tokenizer: Any) -> str:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # How a file was last padded or cut says nothing about its ids.
    state = {name: part for name, part in state.items() if name not in {"truncation", "padding"}}
    state["pad"] = [tokenizer.pad_token_id, tokenizer.pad_token_type_id, tokenizer.padding_side]
    state["cut"] = tokenizer.truncation_side
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
