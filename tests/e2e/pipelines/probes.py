"""Pipelines that behave well, badly and slowly."""

import hashlib
import os
import time


class Lines:
    """Counts lines and their bytes, and adds up a hash that no order changes."""

    def start(self, context):
        return [0, 0, 0]

    def apply(self, partial, record):
        partial[0] += 1
        partial[1] += len(record)
        partial[2] += int.from_bytes(hashlib.blake2b(record, digest_size=6).digest())
        return partial

    def merge(self, left, right):
        return [a + b for a, b in zip(left, right, strict=True)]

    def finish(self, total):
        yield {"lines": total[0], "bytes": total[1], "hash": total[2]}


class Seen:
    """How often each number came."""

    def start(self, context):
        return {}

    def apply(self, partial, record):
        number = int(record)
        partial[number] = partial.get(number, 0) + 1
        return partial

    def merge(self, left, right):
        for number, times in right.items():
            left[number] = left.get(number, 0) + times
        return left

    def finish(self, total):
        for number, times in sorted(total.items()):
            yield {"id": number, "times": times}


class Raises(Lines):
    """Raises at the line `boom`."""

    def apply(self, partial, record):
        if record == b"boom":
            raise ValueError("this line is not to my taste")
        if record.startswith(b"long"):
            raise ValueError(record)
        return super().apply(partial, record)


class Slow(Lines):
    """Half a second a line."""

    def apply(self, partial, record):
        time.sleep(0.5)
        return super().apply(partial, record)


class Dies(Lines):
    """Ends its process at the line `poison`, without a word."""

    def apply(self, partial, record):
        if record == b"poison":
            os._exit(9)
        return super().apply(partial, record)


class Eats(Lines):
    """Takes memory without end at the line `hungry`."""

    def apply(self, partial, record):
        eaten = []
        while record == b"hungry":
            eaten.append(b"x" * 2**26)
        return super().apply(partial, record)


class Rows:
    """The ids and names of rows, in the order of ids."""

    def start(self, context):
        return []

    def apply(self, partial, record):
        row = record if isinstance(record, list) else [record["id"], record["name"]]
        partial.append([int(row[0]), row[1]])
        return partial

    def merge(self, left, right):
        return left + right

    def finish(self, total):
        for number, name in sorted(total):
            yield {"id": number, "name": name}


class Whole:
    """What whole objects are, by their keys."""

    def start(self, context):
        return {}

    def apply(self, partial, record):
        digest = hashlib.sha256()
        for piece in record:
            digest.update(piece)
        return {**partial, record.key: [record.size_bytes, digest.hexdigest()]}

    def merge(self, left, right):
        return left | right

    def finish(self, total):
        for key, (size, digest) in sorted(total.items()):
            yield {"key": key, "size": size, "sha256": digest}
