"""What a job costs, from what it counted. Prices and their date are in `limits`; people see it as an estimate.

The requests of a job follow from its slots, waves and worker seconds; `tests/e2e/jobs/test_requests.py` counts them.
"""

from dataclasses import dataclass
from typing import Final

from rangemill.limits import (
    DYNAMODB_READ_USD,
    DYNAMODB_WRITE_USD,
    FOLD_FAN_IN,
    LAMBDA_GB_SECOND_USD,
    LAMBDA_REQUEST_USD,
    LOOK_EVERY_SECONDS,
    S3_GET_USD,
    S3_PUT_USD,
    SFN_TRANSITION_USD,
)
from rangemill.messages import Totals

_FOLDS_A_WAVE: Final = 1 / (FOLD_FAN_IN - 1)  # of the counter: a wave's partial is folded again at each level


@dataclass(frozen=True, slots=True)
class Requests:
    """How often a job asks the services: of S3 by price class, of the table in units of 4 KiB read or 1 KiB written."""

    transitions: float = 0
    invocations: float = 0
    gets: float = 0
    puts: float = 0
    table_reads: float = 0
    table_writes: float = 0

    def times(self, count: float) -> "Requests":
        """So many of them."""
        return Requests(*(getattr(self, name) * count for name in self.__slots__))

    def plus(self, other: "Requests") -> "Requests":
        """Both."""
        return Requests(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def usd(self) -> float:
        """Dollars in us-east-1."""
        return (
            self.transitions * SFN_TRANSITION_USD
            + self.invocations * LAMBDA_REQUEST_USD
            + self.gets * S3_GET_USD
            + self.puts * S3_PUT_USD
            + self.table_reads * DYNAMODB_READ_USD
            + self.table_writes * DYNAMODB_WRITE_USD
        )


# Admit, Plan of one page, Finish: 3 transitions and the execution's start; Plan reads 9 documents, the object's head
# and two samples, Finish the checkpoint, the plan, a list of objects and some 8 folded partials.
A_JOB: Final = Requests(transitions=4, invocations=3, gets=24, puts=8, table_reads=30, table_writes=40)
# Fetch reads plan, checkpoint, page and that there is no wave document yet, the Map and Aggregate the wave document,
# Aggregate plan, slots, handout and the checkpoint twice, and 16 partials every 16th wave. Written are slots, handout,
# wave document, partial and checkpoint, and by the Map on AWS its manifest and a list of its children. The commit is a
# transaction of two items, each twice the price, of which the row is in an index as well.
A_WAVE: Final = Requests(
    transitions=4,  # Fetch, Apply, Aggregate, Decide
    invocations=2,
    gets=11 + FOLD_FAN_IN * _FOLDS_A_WAVE,
    puts=7 + _FOLDS_A_WAVE,
    table_reads=3,
    table_writes=8,
)
# A Standard child: its start and its one Task. The worker reads plan and slot and looks at the row after its first
# block, Aggregate reads the outcome; what the worker reads of objects it counts itself.
A_SLOT: Final = Requests(transitions=2, gets=3, puts=1, table_reads=1)
A_WORKER_SECOND: Final = Requests(table_reads=1 / LOOK_EVERY_SECONDS)


def requests_of(totals: Totals) -> Requests:
    """The requests of a job that has counted so much; of generations after the first only their waves and slots."""
    found = A_JOB if totals.waves else Requests()
    found = found.plus(A_WAVE.times(totals.waves)).plus(A_SLOT.times(totals.slots))
    found = found.plus(A_WORKER_SECOND.times(totals.worker_milliseconds / 1000))
    return found.plus(Requests(invocations=totals.invocations, gets=totals.worker_requests))


def compute_usd(totals: Totals, memory_mb: int, architecture: str) -> float:
    """Dollars in us-east-1 for the workers' time."""
    gb_seconds = totals.worker_milliseconds / 1000 * memory_mb / 1024
    return gb_seconds * LAMBDA_GB_SECOND_USD[architecture]


def estimate_usd(totals: Totals, memory_mb: int, architecture: str) -> float:
    """Dollars in us-east-1 for the workers and the control plane, without free tiers and without storage."""
    return compute_usd(totals, memory_mb, architecture) + requests_of(totals).usd
