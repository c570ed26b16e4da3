"""An export as its users run it: its own tokenizer, and torch or onnxruntime."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from kd_lab.export.record import PATHS

Inputs = dict[str, NDArray[np.int64]]
"""A batch: input_ids and attention_mask, and token_type_ids where the model takes them, [B, L] each."""
Run = Callable[[Inputs], NDArray[np.float32]]
"""From a batch to its logits [B, C]."""
COLUMNS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""What the tokenizers library calls them."""
TOKENIZER = "tokenizer.json"


class Reader:
    """The tokenizer of an export, which cuts and pads by itself.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path):
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.names: list[str] = settings["model_input_names"]

    def inputs(self, texts: Sequence[str]) -> Inputs:
        """A batch of ``texts``, padded to its longest."""
        encodings = self.tokenizer.encode_batch(list(texts))
        return {name: np.array([getattr(e, COLUMNS[name]) for e in encodings], dtype=np.int64) for name in self.names}


def start(folder: Path, kind: str, threads: int) -> Run:
    """Load the weights of the format ``kind``; ``threads`` are onnxruntime's, torch's are the process's."""
    return _in_torch(folder) if kind == "folder" else _in_onnxruntime(folder / PATHS[kind], threads)


def _in_torch(folder: Path) -> Run:
    import torch

    model = in_transformers(folder)

    def run(inputs: Inputs) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(**{n: torch.from_numpy(a) for n, a in inputs.items()}).logits.numpy()
        return logits

    return run


def in_transformers(folder: Path) -> Any:
    """The model of an export as transformers loads it, in float32."""
    import torch
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    ).eval()


def _in_onnxruntime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], inputs)
        return logits  # type: ignore[no-any-return]

    return run


def logits(reader: Reader, run: Run, texts: Sequence[str], batch_size: int = 32) -> NDArray[np.float32]:
    """The logits [N, C] of N texts, in their order, in batches of like length."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    parts = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    found = np.concatenate([run(reader.inputs([texts[i] for i in part])) for part in parts])
    answers = np.empty_like(found)
    answers[order] = found
    return answers
