"""Compressed objects. One module per codec, found by its name (see `base` for what such a module has).

`sniff` says which codec an object's first bytes are of. `looking` decides with it how an object is to be read: its
*mode*, such as `zstd:frames`, which travels in its pin (`PinnedObject.compression`). `reading` reads a run of it
through the pipeline's format; `looking.logical_pieces` is for those who want the bytes only.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, cast

from rangemill.compression._stored import Stored
from rangemill.compression.base import Codec, Session, Unit

NONE: Final = "none"
# The modes of a plain gzip that an earlier job has not indexed: one worker reads it, or waves follow its indexer.
STREAM: Final = "gzip"
BEHIND_INDEXER: Final = "gzip:waves"
SNIFF_BYTES: Final = 64 * 2**10
_NOT_CODECS: Final = frozenset({"base", "indexing", "looking", "reading"})
_OTHER_MODES: Final = {"bgzf": "gzip"}  # modes that are not named after their codec


@cache
def names() -> tuple[str, ...]:
    """The names of all codecs."""
    return tuple(
        sorted(
            m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_CODECS and not m.name.startswith("_")
        )
    )


@cache
def load(name: str) -> Codec:
    """The codec of that name, or of that mode."""
    return cast("Codec", importlib.import_module(f"{__name__}.{codec_of(name)}"))


def codec_of(mode: str) -> str:
    """The codec of a mode; `none` where it names none."""
    codec = _OTHER_MODES.get(mode, mode.partition(":")[0])
    return codec if codec in names() else NONE


def sniff(head: bytes) -> str:
    """The codec that an object with these first bytes is compressed with, or `none`."""
    return next((name for name in names() if load(name).recognises(head)), NONE)


def by_suffix(key: str) -> str:
    """The codec that an object's name speaks of, or `none`."""
    lowered = key.lower()
    return next((name for name in names() if lowered.endswith(load(name).SUFFIXES)), NONE)


def pieces_of(session: Session, stored: Stored, check: Callable[[int, int], None]) -> Iterator[bytes]:
    """The logical bytes of a session, as they come; `check` is asked with stored and logical bytes so far."""
    given = 0
    for event in session.decode():
        if not isinstance(event, Unit):
            given += len(event)
            check(stored.position + stored.lent - stored.run.start, given)
            yield event
