"""How long to wait before a request is made again: full jitter below a cap that doubles with every failure."""

import random

from rangemill.limits import BACKOFF_BASE_SECONDS, BACKOFF_BROKEN_BASE_SECONDS, BACKOFF_MAX_SECONDS


def backoff_seconds(failures_in_a_row: int, *, refused: bool) -> float:
    """Seconds to wait after so many failures in a row; short where nobody refused (a connection broke).

    Anywhere between nothing and the cap, so that workers who failed together do not come back together.
    """
    base_seconds = BACKOFF_BASE_SECONDS if refused else BACKOFF_BROKEN_BASE_SECONDS
    most = min(BACKOFF_MAX_SECONDS, base_seconds * 2.0**failures_in_a_row)
    return random.uniform(0, most)  # noqa: S311 - no secret
