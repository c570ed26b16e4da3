"""One export in one format, timed in a process of its own."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kd_lab import quiet
from kd_lab.export import runtimes
from kd_lab.export.speeds import Timing

BATCH = 32
WARM_UP = 20  # sentences


def measure(folder: Path, kind: str, threads: int, texts: Sequence[str]) -> Timing:
    """Time the format ``kind`` of the export ``folder`` under ``threads`` threads on ``texts``."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's
    torch.set_num_threads(threads)
    if kind == "folder":
        quiet.transformers()
    reader, run = runtimes.Reader(folder), runtimes.start(folder, kind, threads)
    for text in texts[:WARM_UP]:
        run(reader.inputs([text]))
    start = time.perf_counter()
    single = [reader.inputs([text]) for text in texts]
    tokenizing = time.perf_counter() - start
    each = []
    for inputs in single:
        start = time.perf_counter()
        run(inputs)
        each.append(1000 * (time.perf_counter() - start))
    in_order = sorted(texts, key=len)
    batches = [reader.inputs(in_order[i : i + BATCH]) for i in range(0, len(in_order), BATCH)]
    run(batches[-1])
    start = time.perf_counter()
    for inputs in batches:
        run(inputs)
    rate = len(texts) / (time.perf_counter() - start)
    median, tail = np.percentile(each, (50, 95))
    return Timing(median=median, tail=tail, rate=rate, tokenizing=1000 * tokenizing / len(texts))
