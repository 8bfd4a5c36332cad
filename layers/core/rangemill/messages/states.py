"""What passes between the states of the machine."""

from typing import Literal

from msgspec import Struct

Next = Literal["", "MORE_PLAN", "FETCH", "EXECUTE_NEW", "FINISH", "REST", "DONE"]


class MapInput(Struct, frozen=True):
    """Where the distributed Map finds the wave document."""

    bucket: str
    key: str


class Context(Struct, frozen=True, omit_defaults=True):
    """What passes between states: at most 1 KiB, at one range and at one million."""

    job_id: str
    generation: int
    next: Next = ""
    wave: int = 0
    plan_page: int = 0
    slots: int = 0
    concurrency: int = 0
    next_generation: int = 0
    map: MapInput | None = None


class StateMessage(Struct, frozen=True):
    """What Plan, Fetch, Aggregate and Finish get: the context and the execution that asks."""

    context: Context
    execution_arn: str = ""


class SlotItem(Struct, frozen=True, omit_defaults=True):
    """One item of the wave document: a slot's number, where its document lies, and under which redrive and plan."""

    slot: int
    slots_key: str
    start: int
    end: int
    verdict_key: str
    redrives: int = 0
    plan_number: int = 0


class ApplyMessage(Struct, frozen=True):
    """What a worker gets."""

    job_id: str
    generation: int
    wave: int
    item: SlotItem
