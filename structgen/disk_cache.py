"""Arrays that take long to compute, kept on disk between processes.

They lie in ``$XDG_CACHE_HOME/structgen``, or ``~/.cache/structgen``; ``STRUCTGEN_CACHE_DIR`` names
another folder, and set to nothing (``STRUCTGEN_CACHE_DIR=``) it turns the cache off.

An entry is a file named after what it was computed from: the kind of table, its input, and the
sources of this package.

====== ===== ======================================================================================
offset bytes content
====== ===== ======================================================================================
0      16    ``MAGIC``
16     32    SHA-256 of all that follows
48     4048  JSON, padded with spaces: the file's ``name``, dtype and shape of its ``arrays``
4096   *     the arrays one after the other, in the order of C, each padded to 64 bytes
====== ===== ======================================================================================

A file that is not exactly what was written is computed again. Files are written under another name
and renamed, so that no process sees half of one. The cache is an optimisation: a folder that is
missing, full or not writable is no error.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

Arrays = tuple[np.ndarray, ...]

MAX_BYTES = 512 << 20
# What takes less processor time than this is not worth a file, seconds.
MIN_SECONDS = 0.005
MAGIC = b"structgen array\n"
CHECKED = len(MAGIC) + hashlib.sha256().digest_size
HEAD = 4096
ALIGNMENT = 64
ENDING = ".arrays"

# Whatever computes a cached table comes from these folders.
_SOURCES = ("automaton", "masks", "regular", "schema", "vocabulary")


def load(kind: str, key: bytes | str, build: Callable[[], Sequence[np.ndarray]]) -> Arrays:
    """The arrays of an entry; where there is none, those that ``build`` returns.

    They are kept if it took ``MIN_SECONDS`` or more.

    Args:
        kind: what they are, such as "trie"; a part of the file's name.
        key: says all that ``build`` depends on, but for the sources of this package.
        build: computes a few arrays of numbers, of any shape. What it raises is raised.

    Returns:
        Arrays of the caller's own; those from a file are writable and in the order of C.
    """
    folder = directory()
    if folder is None:
        return tuple(build())
    name = _name(kind, key)
    path = folder / name
    arrays = _read(path, name)
    if arrays is None:
        started = time.thread_time() - _uncounted.seconds
        arrays = tuple(build())
        if time.thread_time() - _uncounted.seconds - started >= MIN_SECONDS:
            with suppress(OSError):
                _write(path, name, arrays)
                _evict(folder, keep=path)
    return arrays


class _Uncounted(threading.local):
    seconds = 0.0  # of processor time that this thread spent inside :func:`uncounted`


_uncounted = _Uncounted()


@contextmanager
def uncounted() -> Iterator[None]:
    """The time inside the block is no reason to keep an entry, such as that to compile a kernel.

    A process that then found the entry would never call, and so never compile, the kernel.
    """
    started = time.thread_time()
    try:
        yield
    finally:
        _uncounted.seconds += time.thread_time() - started


def directory() -> Path | None:
    """The folder of the cache, which need not exist; None if the cache is off."""
    chosen = os.environ.get("STRUCTGEN_CACHE_DIR")
    if chosen is not None:
        return Path(os.path.expanduser(chosen), "arrays") if chosen else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification says to ignore a relative one
        base = os.path.join(os.path.expanduser("~"), ".cache")
    # Without a home, "~" stays as it is.
    return Path(base, "structgen", "arrays") if os.path.isabs(base) else None


def _name(kind: str, key: bytes | str) -> str:
    digest = hashlib.sha256(_VERSION)
    digest.update(kind.encode() + b"\0")
    digest.update(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key)
    return f"{kind}-{digest.hexdigest()[:32]}{ENDING}"


def _version() -> bytes:
    """A digest of what all entries depend on."""
    digest = hashlib.sha256(f"{sys.byteorder} {unicodedata.unidata_version}".encode())
    package = Path(__file__).parent
    files = [f for folder in _SOURCES for f in sorted((package / folder).glob("*.py"))]
    for file in (Path(__file__), *files):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


# Taken when the package is loaded: sources that change later are not what this process runs.
_VERSION = _version()


def _read(path: Path, name: str) -> Arrays | None:
    """The arrays of a file; None if it is not there, or not as :func:`_write` left it."""
    try:
        # Whoever opens a named pipe waits for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        data = np.fromfile(path, np.uint8)
    except (OSError, MemoryError):
        return None
    if data[:CHECKED].tobytes() != MAGIC + hashlib.sha256(data[CHECKED:].data).digest():
        return None
    # So it was written here, if not for this entry.
    fields = json.loads(data[CHECKED:HEAD].tobytes())
    if fields["name"] != name:
        return None
    arrays = []
    at = HEAD
    for dtype, shape in fields["arrays"]:
        size = np.dtype(dtype).itemsize * math.prod(shape)
        arrays.append(data[at : at + size].view(dtype).reshape(shape))
        at += size + -size % ALIGNMENT
    with suppress(OSError):
        os.utime(path)  # the ones longest unused go first
    return tuple(arrays)


def _write(path: Path, name: str, arrays: Arrays) -> None:
    fields = {"name": name, "arrays": [[array.dtype.str, array.shape] for array in arrays]}
    parts = [json.dumps(fields).encode().ljust(HEAD - CHECKED)]
    if any(array.dtype.kind not in "biuf" for array in arrays) or len(parts[0]) > HEAD - CHECKED:
        raise ValueError("a few arrays of numbers can be kept, nothing else")
    for array in arrays:
        parts += [array.tobytes(), bytes(-array.nbytes % ALIGNMENT)]
    body = b"".join(parts)
    if len(body) > MAX_BYTES:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix="writing-", suffix=ENDING)
    try:
        with open(number, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest())
            file.write(body)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _evict(folder: Path, keep: Path) -> None:
    """Remove the files longest unused, until the others have at most MAX_BYTES."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ENDING):
                with suppress(OSError):  # another process may have removed it
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MAX_BYTES:
            break
        if path != os.fspath(keep):
            with suppress(OSError):
                os.unlink(path)
            total -= size
