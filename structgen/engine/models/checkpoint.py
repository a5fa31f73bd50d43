"""Native models from checkpoints, from transformers' models, or with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from structgen.engine.models.linear import FORMATS, Quantization
from structgen.engine.models.llama import LlamaModel, Source
from structgen.engine.models.shape import LlamaShape, native_supported, rotary_table
from structgen.errors import StructgenError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def load_native(
    path: str | Path,
    config: Any,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    quantize: Quantization | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LlamaModel | None:
    """Load the safetensors of a directory straight to ``device``, one tensor at a time.

    Args:
        path: a directory with ``model.safetensors``, or its shards and their index.
        config: the transformers configuration of the model.
        device: where the model is to run.
        dtype: float32, float16 or bfloat16, of weights and activations.
        quantize: "int8" or "fp8" keeps the weights of the layers in eight bits.
        progress: called after each tensor with how many of how many were read.

    Returns:
        None where :func:`native_supported` gives a reason, or the directory has no safetensors:
        transformers may know what to do with it.

    Raises:
        StructgenError: a file cannot be read; a tensor is missing, unknown or of the wrong shape;
            an argument is none of those above.
    """
    _check(device, dtype, quantize)
    files = _files(Path(path))
    if native_supported(config) is not None or not files:
        return None
    with _readable(path):
        source = _Safetensors(files, torch.device(device))
        shape = LlamaShape.of(config)
        _compare(shape, source.shapes, str(path))
        source.progress = progress
        return _build(shape, source, config, device, dtype, quantize)


def from_transformers(model: Any, quantize: Quantization | None = None) -> LlamaModel:
    """The native model with the weights of a transformers model, on its device, in its dtype.

    What need not be put together (embeddings, head, norms, output and down projections) shares
    the memory of ``model``; the rest is copied.

    Raises:
        StructgenError: the model is not a supported one, or its tensors are not as they should be.
    """
    _check(model.device, model.dtype, quantize)
    reason = native_supported(model.config)
    if reason is not None:
        raise StructgenError(f"{type(model).__name__} cannot run natively: {reason}")
    tensors = model.state_dict()
    devices = sorted({str(tensor.device) for tensor in tensors.values()})
    if len(devices) > 1:
        raise StructgenError(f"{type(model).__name__} lies on {', '.join(devices)}; use one device")
    source = _StateDict(tensors)
    shape = LlamaShape.of(model.config)
    _compare(shape, source.shapes, type(model).__name__)
    return _build(shape, source, model.config, model.device, model.dtype, quantize)


def random_native(
    config: Any,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int = 0,
    quantize: Quantization | None = None,
) -> LlamaModel:
    """A model of normally distributed weights (deviation 0.02; norms are 1), for measurements.

    Raises:
        StructgenError: such a configuration is not supported.
    """
    _check(device, dtype, quantize)
    reason = native_supported(config)
    if reason is not None:
        raise StructgenError(f"this configuration cannot run natively: {reason}")
    shape = LlamaShape.of(config)
    source = _Random(shape.tensors(), torch.device(device), dtype, seed)
    return _build(shape, source, config, device, dtype, quantize)


def _build(
    shape: LlamaShape,
    source: Source,
    config: Any,
    device: torch.device | str,
    dtype: torch.dtype,
    quantize: Quantization | None,
) -> LlamaModel:
    with torch.no_grad():
        table = rotary_table(config, torch.device(device))
        return LlamaModel(shape, source, table, dtype, quantize)


def _check(device: torch.device | str, dtype: torch.dtype, quantize: str | None) -> None:
    if dtype not in DTYPES:
        raise StructgenError(f"dtype {dtype} is none of {', '.join(map(str, DTYPES))}")
    if quantize is not None and quantize not in FORMATS:
        raise StructgenError(f"quantize={quantize!r} is none of {', '.join(FORMATS)}, None")
    if quantize == "fp8" and torch.device(device).type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < (8, 9):
            raise StructgenError(
                f"a device of compute capability {'.'.join(map(str, capability))} knows no fp8; "
                "quantize='int8' works"
            )


def _compare(shape: LlamaShape, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse tensors that are not exactly those of the model."""
    expected = shape.tensors()
    ignored = {"lm_head.weight"} if shape.tied else set()
    problems = [f"{name} is missing" for name in expected if name not in found]
    for name, size in found.items():
        if name in expected and expected[name] != size:
            problems.append(f"{name} has shape {list(size)}, not {list(expected[name])}")
        elif name not in expected and name not in ignored:
            problems.append(f"{name} is no tensor of such a model")
    if (
        shape.tied
        and found.get("lm_head.weight", expected["model.embed_tokens.weight"])
        != (expected["model.embed_tokens.weight"])
    ):
        problems.append("lm_head.weight has not the shape of the embeddings that it is tied to")
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise StructgenError(
            f"the tensors of {where} do not fit its configuration: {'; '.join(problems[:3])}{more}"
        )


def _files(path: Path) -> list[Path]:
    """The safetensors files that transformers would load from a directory."""
    if (path / SINGLE).is_file():
        return [path / SINGLE]
    if not (path / INDEX).is_file():
        return []
    try:
        names = sorted(set(json.loads((path / INDEX).read_text())["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise StructgenError(f"the index {path / INDEX} cannot be read: {error}") from error
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise StructgenError(f"{path} lacks {missing[0]}, which its index names; download it again")
    return [path / name for name in names]


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise StructgenError(f"a safetensors file of {path} cannot be read: {error}") from error


class _Safetensors:
    """The tensors of some files, each read when it is asked for."""

    def __init__(self, files: list[Path], device: torch.device) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.progress: Callable[[int, int], None] | None = None
        self._read = 0
        self._file_of: dict[str, Any] = {}
        for path in files:
            file = safe_open(str(path), framework="pt", device=str(device))
            for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                if name.endswith(".rotary_emb.inv_freq"):  # in checkpoints of old
                    continue
                self.shapes[name] = tuple(file.get_slice(name).get_shape())
                self._file_of[name] = file

    def tensor(self, name: str) -> torch.Tensor:
        found = self._file_of[name].get_tensor(name)
        if found.dtype not in (*DTYPES, torch.float64):
            raise StructgenError(
                f"{name} is of type {found.dtype}: the checkpoint is quantised in a way that its "
                "configuration does not tell"
            )
        self._read += 1
        if self.progress is not None:
            self.progress(self._read, len(self.shapes))
        return found


class _StateDict:
    """The tensors of a module."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self._tensors = tensors

    def tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name].detach()


class _Random:
    """Tensors drawn when they are asked for."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.shapes = shapes
        self._dtype = dtype
        self._generator = torch.Generator(device).manual_seed(seed)

    def tensor(self, name: str) -> torch.Tensor:
        out = torch.empty(self.shapes[name], dtype=self._dtype, device=self._generator.device)
        if "norm" in name:
            return out.fill_(1)
        return out.normal_(0, 0.02, generator=self._generator)
