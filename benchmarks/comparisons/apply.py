"""Apply: the Python engine against the bare loop that does the same, over blocks that lie in memory."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.world import GIB, World, program


def comparisons(world: World) -> list[Comparison]:
    """Records and batches of the access log; JSON lines with a declared struct."""
    log, size = world.path("access.log"), str(world.sizes.loop_bytes)
    gib = min(world.sizes.loop_bytes, world.bytes_of("access.log") or GIB) / GIB
    text = Comparison(
        "engine",
        "Python engine over text",
        f"The first {world.sizes.loop_bytes >> 20} MiB of the access log in memory, cut into blocks by the format; "
        "requests and refusals counted by address. Timed: the engine with that class, against `for line in "
        "BytesIO(block)` that strips the line's end and calls the same method; for batches it makes the list and "
        "calls `apply_batch`. Equal: the 100 addresses with most requests.",
        [
            _loop("bare loop, per record", "records", "talkers", log, size),
            _loop("Rangemill, per record", "engine", "talkers", log, size),
            _loop("bare loop, batches", "batches", "talkers-batch", log, size),
            _loop("Rangemill, batches", "engine", "talkers-batch", log, size),
        ],
        [
            _line("Python engine, per record, against the bare loop", "Rangemill, per record", "bare loop, per record"),
            _line("Python engine, batches, against the bare loop", "Rangemill, batches", "bare loop, batches"),
        ],
        gib,
    )
    events = world.path("events.jsonl")
    jsonl = Comparison(
        "jsonl",
        "Python engine over JSON lines",
        f"The first {world.sizes.loop_bytes >> 21} MiB of the JSON lines in memory; events and cents summed by kind. "
        "Timed: the engine with a class whose `apply` annotates its record with a `msgspec.Struct` of two of the five "
        "fields, against `json.loads` of each line and the same sums from its dict. Equal: all sums.",
        [
            _loop("`json.loads` per line", "json", "events", events, str(world.sizes.loop_bytes // 2)),
            _loop("Rangemill, declared struct", "engine", "events", events, str(world.sizes.loop_bytes // 2)),
        ],
        [
            Line(
                "JSONL with a declared struct, against `json.loads` per line",
                of("Rangemill, declared struct", "cpu_seconds"),
                of("`json.loads` per line", "cpu_seconds"),
                "s CPU",
                at_least=5,
                peer_name="json.loads",
            )
        ],
        gib / 2,
    )
    return [text, jsonl]


def _loop(name: str, kind: str, pipeline: str, file: str, size: str) -> Side:
    return Side(name, (*program("loops"), "{out}", kind, pipeline, file, size), results.own)


def _line(measure: str, ours: str, peer: str) -> Line:
    return Line(measure, of(ours, "cpu_seconds"), of(peer, "cpu_seconds"), "s CPU", at_most=1.15, peer_name="bare loop")
