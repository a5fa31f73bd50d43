"""Loading a model and its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch

from structgen.engine.models import (
    Model,
    from_transformers,
    load_native,
    native_supported,
)
from structgen.engine.models.transformers_model import TransformersModel
from structgen.engine.progress import progress
from structgen.engine.request import first_line
from structgen.errors import StructgenError

DEMO_NAME = "structgen-demo"


class Loaded(NamedTuple):
    """A causal LM as the engine runs it, its tokenizer, and the name it goes by.

    Attributes:
        generation: transformers' generation config, None where there is none.
        n_inputs: token ids that it takes.
    """

    model: Model
    tokenizer: Any
    name: str
    generation: Any
    n_inputs: int


def demo_path() -> Path:
    """Where the small model that ships with the package lies.

    Raises:
        StructgenError: the installation lacks it.
    """
    path = Path(str(files("structgen"))) / "assets" / "demo"
    if not (path / "config.json").is_file():
        raise StructgenError(
            "this installation of structgen lacks its demo model; pass model= a path or a hub id"
        )
    return path


def load(
    model: Any,
    tokenizer: Any = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    native: bool | None = None,
    quantize: Any = None,
    show_progress: bool | None = None,
) -> Loaded:
    """Load ``model``: None for the demo model, a directory, a hub id, or a transformers model.

    Args:
        model: see above; an object needs ``tokenizer`` with it.
        tokenizer: a transformers tokenizer, a directory or a hub id; default the model's own.
        device: default the first GPU, or the CPU where there is none.
        dtype: default the checkpoint's on a GPU and float32 on the CPU.
        native: run it by our own implementation of its architecture; None: where there is one, and
            the model is not an object, of which that would be another copy.
        quantize: "int8" or "fp8": keep the weights of a native model in eight bits.
        show_progress: None shows it where stderr is a terminal.

    Raises:
        StructgenError: anything that keeps the model from loading, in one sentence.
    """
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = load_tokenizer(tokenizer)
    if model is not None and not isinstance(model, str | os.PathLike):
        if tokenizer is None:
            raise StructgenError("a model object needs its tokenizer: pass tokenizer=")
        if device is not None or dtype is not None:
            raise StructgenError("device= and dtype= are for models that are loaded by name")
        name = getattr(model, "name_or_path", "") or "model"
        return _of_network(model, tokenizer, name, bool(native or quantize), quantize)
    with progress(f"loading {model or 'the demo model'}", show=show_progress):
        return _load_pretrained(model, tokenizer, _device(device), dtype, native, quantize)


def _of_network(
    network: Any, tokenizer: Any, name: str, native: bool, quantize: Any = None
) -> Loaded:
    """Around a transformers model."""
    network.eval()
    model: Model
    if native:
        reason = native_supported(network.config)
        if reason is not None:
            raise StructgenError(f"{name} cannot run natively: {reason}; pass native=False")
        model = from_transformers(network, quantize)
    else:
        model = TransformersModel(network)
        model.check()
    n_inputs = network.get_input_embeddings().weight.shape[0]
    return Loaded(model, tokenizer, name, getattr(network, "generation_config", None), n_inputs)


def load_tokenizer(source: str | os.PathLike[str] | None) -> Any:
    """The transformers tokenizer of a directory or hub id; None for the demo model's.

    Raises:
        StructgenError: it does not load.
    """
    from transformers import AutoTokenizer

    where = _source(source)
    with _errors("tokenizer", where):
        return AutoTokenizer.from_pretrained(where, local_files_only=source is None)


def _load_pretrained(
    model: str | os.PathLike[str] | None,
    tokenizer: Any,
    device: torch.device,
    dtype: str | torch.dtype | None,
    native: bool | None,
    quantize: Any,
) -> Loaded:
    from transformers import AutoConfig, AutoModelForCausalLM

    where, local = _source(model), model is None
    name = DEMO_NAME if local else where.rstrip("/")
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else "auto"
    dtype = _dtype(dtype)
    with _errors("model", where), _quiet_transformers():
        config = AutoConfig.from_pretrained(where, local_files_only=local)
        found: Model | None = None
        reason = native_supported(config)
        if native is not False and reason is None:
            found = load_native(
                _directory(where), config, device=device, dtype=_resolved(dtype, config),
                quantize=quantize,
            )  # fmt: skip
        if found is None and (native or quantize):
            if native is False:
                reason = "native=False forbids it, and quantize= needs it"
            reason = reason or "it has no safetensors"
            raise StructgenError(f"{name} cannot run natively: {reason}")
        if tokenizer is None:
            tokenizer = load_tokenizer(model)
        if found is not None:
            return Loaded(found, tokenizer, name, _generation(where, local), found.vocab_size)
        network, read = AutoModelForCausalLM.from_pretrained(
            where, dtype=dtype, local_files_only=local, output_loading_info=True
        )
        if missing := sorted(read["missing_keys"]):
            raise StructgenError(
                f"the checkpoint {where} lacks {len(missing)} tensors, {missing[0]} among them; "
                "download it again"
            )
        return _of_network(network.to(device), tokenizer, name, False)


def _resolved(dtype: str | torch.dtype, config: Any) -> torch.dtype:
    """The checkpoint's own where it is to be."""
    if isinstance(dtype, torch.dtype):
        return dtype
    own = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    if isinstance(own, str):
        own = getattr(torch, own.removeprefix("torch."), None)
    return own if isinstance(own, torch.dtype) else torch.bfloat16


def _directory(where: str) -> str:
    """Where the files of a model lie; those of a hub id are fetched."""
    if os.path.isdir(where):
        return where
    from huggingface_hub import snapshot_download

    return snapshot_download(where, allow_patterns=["*.safetensors", "*.json"])


def _generation(where: str, local: bool) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(where, local_files_only=local)
    except OSError:
        return None


def _source(source: str | os.PathLike[str] | None) -> str:
    if source is None:
        return str(demo_path())
    text = os.path.expanduser(source)
    looks_like_path = text.startswith((".", "/")) or isinstance(source, os.PathLike)
    if looks_like_path and not os.path.isdir(text):
        raise StructgenError(f"there is no model directory {text}")
    return text


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise StructgenError(f"device {device!s} cannot be used: {first_line(error)}") from error
    return chosen


def _dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    if isinstance(dtype, str) and dtype != "auto":
        found = getattr(torch, dtype, None)
        if not isinstance(found, torch.dtype):
            raise StructgenError(f"dtype {dtype!r} is not a torch dtype, such as 'bfloat16'")
        return found
    return dtype


@contextmanager
def _errors(what: str, where: str) -> Iterator[None]:
    try:
        yield
    except StructgenError:
        raise
    except Exception as error:  # transformers and its loaders raise many kinds
        raise StructgenError(f"cannot load the {what} {where!r}: {first_line(error)}") from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' own progress bars, which do not ask whether a person watches."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
