"""The data: made once into the ignored folder from fixed seeds, so that it is the same on every machine."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, Final

from benchmarks.world import GIB, MIB, Sizes

SEED: Final = 20131231
_RECIPE: Final = 2  # another one when what is made changes: data of an older one is made anew
_CHUNK_BYTES: Final = 2 * MIB
_TEMPLATE_BYTES: Final = 64 * MIB
_PATHS: Final = [
    "/?id=",
    "/index.html?s=",
    "/api/v1/orders/",
    "/api/v1/users/",
    "/static/app.js?v=",
    "/search?q=range&page=",
]
_AGENTS: Final = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
]
_STATUSES: Final = [200] * 16 + [304, 302, 404, 500]
_KINDS: Final = ["order", "view", "search", "login", "refund", "cart"]

type Say = Callable[[str], None]
type Lines = Callable[[random.Random, int], list[str]]


def make(folder: Path, sizes: Sizes, say: Say) -> None:
    """All objects of bucket `bench`; those that are there and were made alike stay."""
    mark, made = folder / ".made", f"{_RECIPE} {replace(sizes, large_scale=None)}"
    if mark.exists() and mark.read_text() != made:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _object(folder / "access.log", say, lambda path: _text(path, sizes.log_bytes, _log_lines))
    _object(
        folder / "access-small.log", say, lambda path: _beginning(folder / "access.log", path, sizes.small_log_bytes)
    )
    _object(folder / "seventeen.log", say, lambda path: _beginning(folder / "access.log", path, 17 * 2**16, exact=True))
    _object(folder / "events.jsonl", say, lambda path: _text(path, sizes.jsonl_bytes, _event_lines))
    _object(folder / "lineitem.csv", say, lambda path: _lineitem(path, sizes.scale))
    _object(folder / "lineitem-small.csv", say, lambda path: _lineitem(path, sizes.small_scale))
    large = sizes.large_scale
    if large is not None:
        _object(folder / "lineitem-large.csv", say, lambda path: _lineitem(path, large))
    for name in ("access.log", "lineitem.csv"):
        _object(folder / f"{name}.gz", say, partial(_gzip, folder / name))
    mark.write_text(made)


def compressor() -> list[str]:
    """What makes the gzip files: pigz with both cores where it is installed, else gzip; one member, level 6."""
    return [shutil.which("pigz") or "gzip", "-6", "-n", "-c"]


def _object(path: Path, say: Say, make_it: Callable[[Path], None]) -> None:
    if path.exists():
        return
    say(f"making {path.name}")
    unfinished = path.with_name(f".{path.name}.unfinished")
    make_it(unfinished)
    unfinished.rename(path)


def _text(path: Path, size: int, lines: Lines) -> None:
    """`size` bytes and the end of a line: a template of 64 MiB of lines, its chunks in another order every time."""
    chance = random.Random(SEED)
    template_bytes = min(size, _TEMPLATE_BYTES)
    chunks: list[bytes] = []
    while sum(map(len, chunks)) < template_bytes:
        parts: list[str] = []
        while sum(map(len, parts)) < min(_CHUNK_BYTES, template_bytes):
            parts.append("".join(lines(chance, len(chunks))))
        chunks.append("".join(parts).encode())
    written = 0
    with path.open("wb") as out:
        while written < size:
            for chunk in chance.sample(chunks, len(chunks)):
                written += out.write(chunk)


def _log_lines(chance: random.Random, hour: int) -> list[str]:
    """Some thousand lines in the combined format; 5,000 addresses, some of which ask far more often than others."""
    addresses = [f"203.0.{i >> 8}.{i & 255}" for i in range(0, 65_536, 13)]
    weights = list(accumulate(1 / rank for rank in range(1, len(addresses) + 1)))
    count = 2_000
    columns = zip(
        chance.choices(addresses, cum_weights=weights, k=count),
        chance.choices(_PATHS, k=count),
        chance.choices(range(1 << 24), k=count),
        chance.choices(_STATUSES, k=count),
        chance.choices(range(200, 40_000), k=count),
        chance.choices(_AGENTS, k=count),
        strict=True,
    )
    return [
        f'{address} - - [31/Dec/2013:{hour % 24:02d}:{i * 60 // count:02d}:{i % 60:02d} +0000] "GET {path}{token:x} '
        f'HTTP/1.1" {status} {sent} "-" "{agent}"\n'
        for i, (address, path, token, status, sent, agent) in enumerate(columns)
    ]


def _event_lines(chance: random.Random, hour: int) -> list[str]:
    return [
        json.dumps(
            {
                "id": f"{chance.getrandbits(64):016x}",
                "at": f"2013-12-31T{hour % 24:02d}:{i % 60:02d}:00Z",
                "kind": chance.choice(_KINDS),
                "cents": chance.randrange(1, 100_000),
                "user": {"id": chance.randrange(50_000), "country": chance.choice(["DE", "US", "JP", "BR"])},
            }
        )
        + "\n"
        for i in range(2_000)
    ]


def _beginning(source: Path, path: Path, size: int, *, exact: bool = False) -> None:
    """The first bytes of a file, up to a line's end unless that must be exact."""
    with source.open("rb") as file, path.open("wb") as out:
        left = size
        while left > 0 and (piece := file.read(min(left, MIB))):
            left -= out.write(piece)
        if not exact:
            out.write(file.readline())


def _lineitem(path: Path, scale: float) -> None:
    tool = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent))
    if tool is None:
        raise FileNotFoundError("tpchgen-cli is not installed beside this interpreter; run scripts/bootstrap")
    with path.open("wb") as out:
        command = [tool, "csv", "-s", f"{scale:g}", "-T", "lineitem", "--stdout", "--quiet"]
        subprocess.run(command, stdout=out, check=True)


def _gzip(source: Path, path: Path) -> None:
    with source.open("rb") as file, path.open("wb") as out:
        _run(compressor(), file, out)


def _run(command: list[str], source: IO[bytes], out: IO[bytes]) -> None:
    subprocess.run(command, stdin=source, stdout=out, check=True)


def describe(folder: Path) -> list[tuple[str, float]]:
    """Names and GiB of all objects."""
    return [(path.name, path.stat().st_size / GIB) for path in sorted(folder.glob("[!.]*"))]
