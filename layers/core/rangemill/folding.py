"""Folding partials that lie in the store: bounded batches, and a binary counter of waves' partials."""

import msgspec

from rangemill import keys, pages
from rangemill.engines.base import Folder
from rangemill.gateways import Store
from rangemill.limits import FOLD_BATCH_BYTES, FOLD_FAN_IN
from rangemill.messages import Checkpoint


def with_wave(checkpoint: Checkpoint, partial: bytes | None, folder: Folder, store: Store, attempt: str) -> Checkpoint:
    """Add the wave's partial to the levels like a digit to a counter, so that no wave's cost grows with the job."""
    if partial is None:
        return checkpoint
    levels = [list(level) for level in checkpoint.levels] or [[]]
    key = keys.aggregate(checkpoint.job_id, 0, checkpoint.wave, attempt)
    store.put(key, partial)
    levels[0].append(key)
    level = 0
    while len(levels[level]) >= FOLD_FAN_IN:
        folded = fold_keys(levels[level], folder, store)
        levels[level] = []
        level += 1
        if level == len(levels):
            levels.append([])
        key = keys.aggregate(checkpoint.job_id, level, checkpoint.wave, attempt)
        store.put(key, folded)
        levels[level].append(key)
    return msgspec.structs.replace(checkpoint, levels=levels)


def fold_keys(partial_keys: list[str], folder: Folder, store: Store) -> bytes:
    """One partial of several that lie in the store, read and folded a bounded batch at a time."""
    total: bytes | None = None
    batch: list[bytes] = []
    for key in partial_keys:
        batch.append(pages.required(store, key))
        if sum(map(len, batch)) >= FOLD_BATCH_BYTES:
            total = folder.fold(batch if total is None else [total, *batch])
            batch = []
    if batch or total is None:
        total = folder.fold(batch if total is None else [total, *batch])
    return total
