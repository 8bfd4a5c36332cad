"""The typed documents that pass between states and lie in the work bucket: parsed at the edge, frozen inside.

Each carries `v`; a reader takes the version before its own as well, so that a running job survives a deploy.
"""

from rangemill.messages.checkpoints import Checkpoint, ClosedObject, OpenObject, PendingOutcome, Totals
from rangemill.messages.codec import READABLE_VERSIONS, VERSION, decode, encode, now_text
from rangemill.messages.job import ENDED, Desired, GenerationRow, JobRow, Member, Status, WaveRow
from rangemill.messages.objects import (
    Cursor,
    Indexing,
    IndexTurn,
    ObjectRef,
    PinnedObject,
    Redo,
    RejectFile,
    RetrySlot,
    Run,
    Slot,
)
from rangemill.messages.planning import (
    CodeIdentity,
    GzipWay,
    JobRequest,
    PipelineDocument,
    Plan,
    PlanPage,
    PlanResume,
    Prefix,
)
from rangemill.messages.states import ApplyMessage, Context, MapInput, Next, SlotItem, StateMessage
from rangemill.messages.waves import Handout, OutcomeHeader, RejectGroup, Verdict

__all__ = [
    "ENDED",
    "READABLE_VERSIONS",
    "VERSION",
    "ApplyMessage",
    "Checkpoint",
    "ClosedObject",
    "CodeIdentity",
    "Context",
    "Cursor",
    "Desired",
    "GenerationRow",
    "GzipWay",
    "Handout",
    "IndexTurn",
    "Indexing",
    "JobRequest",
    "JobRow",
    "MapInput",
    "Member",
    "Next",
    "ObjectRef",
    "OpenObject",
    "OutcomeHeader",
    "PendingOutcome",
    "PinnedObject",
    "PipelineDocument",
    "Plan",
    "PlanPage",
    "PlanResume",
    "Prefix",
    "Redo",
    "RejectFile",
    "RejectGroup",
    "RetrySlot",
    "Run",
    "Slot",
    "SlotItem",
    "StateMessage",
    "Status",
    "Totals",
    "Verdict",
    "WaveRow",
    "decode",
    "encode",
    "now_text",
]
