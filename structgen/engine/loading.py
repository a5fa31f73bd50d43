"""Loading a model and its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch

from structgen.engine.progress import progress
from structgen.engine.runner import refuse_unsupported
from structgen.errors import StructgenError

DEMO_NAME = "structgen-demo"


class Loaded(NamedTuple):
    """A causal LM in evaluation mode, its tokenizer, and the name it goes by."""

    model: Any
    tokenizer: Any
    name: str


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
    show_progress: bool | None = None,
) -> Loaded:
    """Load ``model``: None for the demo model, a directory, a hub id, or a transformers model.

    Args:
        model: see above; an object needs ``tokenizer`` with it.
        tokenizer: a transformers tokenizer, a directory or a hub id; default the model's own.
        device: default the first GPU, or the CPU where there is none.
        dtype: default the checkpoint's on a GPU and float32 on the CPU.
        show_progress: None shows it where stderr is a terminal.

    Raises:
        StructgenError: anything that keeps the model from loading, in one sentence.
    """
    if model is not None and not isinstance(model, str | os.PathLike):
        if tokenizer is None:
            raise StructgenError("a model object needs its tokenizer: pass tokenizer=")
        if device is not None or dtype is not None:
            raise StructgenError("device= and dtype= are for models that are loaded by name")
        loaded = Loaded(model, tokenizer, getattr(model, "name_or_path", "") or "model")
    else:
        with progress(f"loading {model or 'the demo model'}", show=show_progress):
            loaded = _load_pretrained(model, _device(device), dtype)
    if isinstance(tokenizer, str | os.PathLike):
        loaded = loaded._replace(tokenizer=load_tokenizer(tokenizer))
    elif tokenizer is not None:
        loaded = loaded._replace(tokenizer=tokenizer)
    refuse_unsupported(loaded.model)
    loaded.model.eval()
    return loaded


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
    model: str | os.PathLike[str] | None, device: torch.device, dtype: str | torch.dtype | None
) -> Loaded:
    from transformers import AutoModelForCausalLM

    where = _source(model)
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else "auto"
    with _errors("model", where), _quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(
            where, dtype=_dtype(dtype), local_files_only=model is None
        ).to(device)
    name = DEMO_NAME if model is None else where.rstrip("/")
    return Loaded(network, load_tokenizer(model), name)


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
        raise StructgenError(f"device {device!s} cannot be used: {_first_line(error)}") from error
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
        raise StructgenError(f"cannot load the {what} {where!r}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
