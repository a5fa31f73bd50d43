"""Compiled array kernels, cached on disk.

numba keeps a compiled function as long as the file that defines it is unchanged. Our kernels inline
functions of other files, so a change there must count as well: the stamp of every kernel covers the
sources of all of them.

numba's cache lies beside the source, or, where that cannot be written, in the user's cache folder;
``NUMBA_CACHE_DIR`` names another one. Here a kernel that was compiled beside the source is found
even by those who cannot write there, a cache that is damaged is compiled again, and without any
folder to write into kernels are compiled for the process alone.

Of the 15 ms that numba takes to load a function, nearly all go into what only a caller that is
compiled with it needs. Here that waits for such a caller, and loading takes 1 ms.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb
import numpy.ma  # noqa: F401  as numba does when it first sees an array: no input's cost
from llvmlite.binding import parse_bitcode
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult, compile_result
from numba.core.environment import Environment, lookup_environment
from numba.core.runtime import rtsys

from structgen import budget, disk_cache

_KERNEL_SOURCES = (
    "automaton/byte_classes.py",
    "automaton/lift.py",
    "automaton/placing.py",
    "automaton/pointers.py",
    "automaton/spellings.py",
    "automaton/step.py",
    "automaton/tries.py",
    "batch.py",
    "jit.py",
    "masks/accept.py",
    "masks/bits.py",
    "masks/blocks.py",
    "masks/counted.py",
    "masks/decode.py",
    "masks/fill.py",
    "masks/json_values.py",
    "masks/loops.py",
    "masks/rows.py",
    "masks/trie.py",
    "masks/unique_candidates.py",
    "masks/unique_reader.py",
    "masks/unique_search.py",
    "masks/walk.py",
    "regular/dense.py",
    "regular/number_states.py",
    "regular/partition.py",
    "regular/product.py",
    "regular/subset.py",
)

_kernels: list[Any] = []


@cache
def _stamp() -> str:
    digest = hashlib.sha256()
    for name in _KERNEL_SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


class _LoadedLibrary(JITCodeLibrary):
    """Machine code from the cache. The bitcode is parsed once a caller is compiled with it."""

    _shared_module: Any

    def __init__(self, codegen: Any, name: str, code: bytes, bitcode: bytes) -> None:
        super().__init__(codegen, name)
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(code)
        self._finalize_final_module()

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = parse_bitcode(self._bitcode)
        return self._shared_module


class _KernelFormat(CompileResultCacheImpl):
    """What is kept of a compiled function."""

    def reduce(self, compiled: CompileResult) -> tuple[Any, ...]:
        library, fndesc, environment, signature, *_, prepare, environments = compiled._reduce()
        # Of the environments of all functions that went into it, those that the code reads.
        text = str(compiled.library._final_module)
        uses = Counter(re.findall(r"@(_ZN08NumbaEnv\w+)", text))
        others = [
            (e.env_name, e.globals["__name__"], e.consts)
            for e in environments
            if uses[e.env_name] > 1 and e is not environment
        ]
        return library, fndesc, environment, signature, prepare, others

    def rebuild(self, target_context: Any, payload: tuple[Any, ...]) -> CompileResult:
        (name, _, (code, bitcode)), fndesc, environment, signature, prepare, others = payload
        for initialize in prepare:
            initialize()
        codegen = target_context.codegen()
        library = _LoadedLibrary(codegen, name, code, bitcode)
        codegen._engine._defined_symbols |= {
            fndesc.llvm_func_name,
            fndesc.llvm_cpython_wrapper_name,
            fndesc.llvm_cfunc_wrapper_name,
        }
        environments = [_environment(*other) for other in others]
        for each in environments:
            codegen.set_env(each.env_name, each)
        return compile_result(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=library,
            environment=environment,
            entry_point=target_context.get_executable(library, fndesc, environment),
            fndesc=fndesc,
            signature=signature,
            objectmode=False,
            lifted=(),
            referenced_envs=environments,  # kept alive
        )


def _environment(name: str, module: str, constants: list[Any]) -> Environment:
    """A function's environment. Code without Python objects never looks into its module."""
    environment = lookup_environment(name)
    if environment is None:
        environment = Environment._memo[name] = Environment({"__name__": module})
        environment.env_name = name
        environment.consts[:] = constants
    return environment


class _KernelCache(FunctionCache):
    """numba's cache of one function."""

    _impl_class = _KernelFormat

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _stamp()
        beside = os.path.join(os.path.dirname(function.__code__.co_filename), "__pycache__")
        self._files = [self._cache_file]
        if beside != self._cache_path:
            base = self._impl.filename_base
            self._files.append(IndexDataCacheFile(beside, base, _stamp()))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled specialization for ``sig``, or None."""
        # numba would load all that it knows to compile, which takes 0.2 s. It does so anyway before
        # it compiles; code that is compiled needs the runtime only.
        rtsys.initialize(target_context)
        key = self._index_key(sig, target_context.codegen())
        for file in self._files:
            with suppress(Exception):  # unreadable, truncated, or no pickle at all
                found = file.load(key)
                if found is not None:
                    return self._impl.rebuild(target_context, found)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # such as a full disk
            pass
        except Exception:
            # The index that the entry should be added to is damaged: begin a new one.
            with suppress(OSError):
                self.flush()
                super().save_overload(sig, data)

    def is_filled(self) -> bool:
        """Is any specialization on disk, compiled from the sources as they are?"""
        for file in self._files:
            with suppress(Exception):
                if file._load_index():
                    return True
        return False


def _name_of(dispatcher: Any) -> str:
    return f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}"


class CompileListener(event.Listener):
    """Told of each function that numba begins to compile; those from the cache are not.

    Says once, on standard error, what it is that takes so long.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, event: event.Event) -> None:
        self.names.append(_name_of(event.data["dispatcher"]))
        self.show()

    def on_end(self, event: event.Event) -> None:
        pass

    def show(self) -> None:
        if len(self.names) == 1:
            text = "structgen: compiling array kernels, once on this machine (half a minute)..."
            print(text, file=sys.stderr, flush=True)


_listener = CompileListener()


def listen(listener: CompileListener) -> None:
    """Let ``listener`` be told from now on."""
    global _listener
    _listener = listener


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit(cache=True, **options)`` with a stamp over the sources of all kernels."""

    def decorate(f: Callable[..., Any]) -> Any:
        compiled = nb.njit(**options)(f)
        with suppress(RuntimeError):  # numba found no folder that can be written into
            compiled._cache = _KernelCache(f)
        prepare = compiled._compile_for_args

        def untimed(*arguments: Any, **named: Any) -> Any:
            # Loading or compiling itself is not what a caller's input costs.
            listening = event.install_listener("numba:compile", _listener)
            with budget.untimed(), disk_cache.uncounted(), listening:
                return prepare(*arguments, **named)

        compiled._compile_for_args = untimed
        _kernels.append(compiled)
        return compiled

    return decorate if function is None else decorate(function)


def missing() -> list[str]:
    """Names of the kernels, of modules imported so far, that are not compiled on this machine."""
    return [
        _name_of(k)
        for k in _kernels
        if not (isinstance(k._cache, _KernelCache) and k._cache.is_filled())
    ]


def cache_folder() -> Path | None:
    """Where compiled kernels are written; None if nowhere."""
    folders = (k._cache.cache_path for k in _kernels if isinstance(k._cache, _KernelCache))
    return next(map(Path, folders), None)
