"""The files of an export: a folder of transformers, ONNX, and ONNX in whole numbers of 8 bits."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_lab import models, quiet
from kd_lab.errors import UserError
from kd_lab.export import runtimes
from kd_lab.export.record import PATHS, Scale
from kd_lab.finished import Finished

TWO_TEXTS = ["a longer text with some words more", "short"]  # what the graph is traced on; its lengths stay open
BLOCK = 128
IN_WHOLE_NUMBERS = 4  # onnxruntime's name for activations of 8 bits as well
MOST_IN_ONE_FILE = 2**31 - 2**24  # bytes; protobuf ends at 2 GiB


class Logits(nn.Module):
    """A classifier that answers with a tensor alone, as a graph must.

    Args:
        model: of transformers.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits [B, C] of inputs [B, L]."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def write_folder(finished: Finished, folder: Path) -> int:
    """Weights, configuration and tokenizer, which pipeline("text-classification", folder) loads; its parameters.

    The tokenizer's file says how texts are cut and padded, so that the tokenizers library alone reads as predict does.
    """
    quiet.libraries()
    classifier = models.load(finished.checkpoint, finished.label_names, finished.max_length, trained=True)
    classifier.save(folder)
    tokenizer, limit = classifier.encoder.tokenizer, classifier.encoder.max_length
    tokenizer.model_max_length = limit
    # What neither tokenizer nor model knows is no input.
    names = [name for name in tokenizer.model_input_names if name in classifier.takes]
    tokenizer.save_pretrained(folder)
    file, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(limit)
    backend.enable_padding(
        direction=tokenizer.padding_side,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=tokenizer.pad_token,
    )
    backend.save(str(file))
    known = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**known, "model_input_names": names}, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return classifier.count_parameters()


def write_onnx(folder: Path) -> None:
    """The ONNX file of float32, made from the weights in ``folder``.

    Raises:
        UserError: for a model whose graph cannot be written.
    """
    quiet.libraries()
    (folder / PATHS["onnx"]).parent.mkdir()
    _trace(folder, folder / PATHS["onnx"])


def write_int8(folder: Path, scale: Scale) -> None:
    """The ONNX file of 8 bits, made from that of float32 in ``folder``; embeddings are in it.

    Args:
        folder: of the export.
        scale: of the activations, which are measured as they come. ``batch``: one for all of them; the fastest, twice
            as fast as float32 where the processor has no instructions for sums of 8-bit products. ``blocks``: for the
            wide (feed-forward) products one for each ``BLOCK`` of each token's, since outliers make a single one
            coarse; weights of the others are unsigned, since signed ones overflow on such a processor.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        # Shapes of everything in between: what has none is not quantized.
        shaped, partly = Path(scratch) / "shaped.onnx", Path(scratch) / "partly.onnx"
        quant_pre_process(folder / PATHS["onnx"], shaped, skip_optimization=True, skip_symbolic_shape=True)
        if scale == "batch":
            quantize_dynamic(shaped, folder / PATHS["int8"], weight_type=QuantType.QInt8, per_channel=True)
            return
        wide = _wide_products(onnx.load(shaped).graph)
        quantize_dynamic(shaped, partly, weight_type=QuantType.QUInt8, per_channel=True, nodes_to_exclude=wide)
        _quantize_in_blocks(partly, wide, folder / PATHS["int8"])


def _quantize_in_blocks(path: Path, products: Sequence[str], smaller: Path) -> None:
    import onnx

    with quiet.logging_as_it_was():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(path),
        bits=8,
        block_size=BLOCK,
        is_symmetric=True,
        accuracy_level=IN_WHOLE_NUMBERS,
        nodes_to_include=list(products),
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(smaller))


def _trace(folder: Path, path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = Logits(runtimes.in_transformers(folder)).eval()
    if sum(p.numel() * p.element_size() for p in model.parameters()) > MOST_IN_ONE_FILE:
        raise UserError(f"{folder.name}: is larger than the 2 GiB that an ONNX file holds; choose format=folder")
    inputs = dict(tokenizer(TWO_TEXTS, padding=True, return_tensors="pt"))
    try:
        program = torch.onnx.export(
            model,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes={name: {0: "batch", 1: "length"} for name in inputs},
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(f"this model has no ONNX form that torch can write ({reason}); choose format=folder") from error
    assert program is not None
    program.save(path, external_data=False)


def _wide_products(graph: Any) -> list[str]:
    """Names of the products with a matrix of weights that is not square."""
    shapes = {weights.name: tuple(weights.dims) for weights in graph.initializer}
    products = [(node.name, shapes.get(node.input[1], ())) for node in graph.node if node.op_type == "MatMul"]
    return [name for name, shape in products if len(shape) == 2 and shape[0] != shape[1]]
