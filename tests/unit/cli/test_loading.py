"""Loading without a look for garbage, and looking for it again afterwards."""

import gc

import pytest

from rangemill_cli.loading import loading


def test_nothing_is_collected_until_all_is_loaded() -> None:
    before = gc.get_freeze_count()
    try:
        with loading():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()


def test_garbage_is_collected_again_after_a_failure() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError
    gc.unfreeze()
    assert gc.isenabled()
