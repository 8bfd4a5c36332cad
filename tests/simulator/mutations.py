"""Mechanisms broken on purpose, one at a time: what the simulator must notice, and where."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import ANY, patch

import msgspec
from botocore.exceptions import BotoCoreError
from tests.simulator import test_behaviours as behaviours
from tests.simulator.s3 import S3Client

from rangemill import admission, closing, deaths, fetch, messages, wave
from rangemill.aws import items, jobs, leases, store
from rangemill.aws.jobs import DynamoJobs
from rangemill.aws.objects import S3Objects
from rangemill.aws.store import S3Store

type Breaking = Callable[[ExitStack], object]
type Trial = Callable[[int], None]

_SEEDS: Final = 6


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mechanism, and how it is broken."""

    name: str
    breaks: Breaking
    trials: tuple[Trial, ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The code without the mechanism."""
        with ExitStack() as stack:
            self.breaks(stack)
            yield

    def noticed(self) -> str | None:
        """What notices it first: a promise that does not hold any more, in one of a bounded number of histories."""
        with self.applied():
            for seed in range(_SEEDS):
                for trial in self.trials:
                    try:
                        trial(seed)
                    except Exception as error:
                        if isinstance(error.__cause__, TypeError):  # a mutation that does not fit the code any more
                            raise
                        return f"{trial.__name__}, seed {seed}: {type(error).__name__}: {error}"
        return None


def _without(argument: str, operation: str, where: str = "") -> Breaking:
    """S3 requests without a header."""
    real = getattr(S3Client, operation)

    def request(self: S3Client, **arguments: Any) -> Any:
        if where in str(arguments["Key"]):
            arguments.pop(argument, None)
        return real(self, **arguments)

    return lambda stack: stack.enter_context(patch.object(S3Client, operation, request))


def _condition(part: str, instead: str) -> Breaking:
    """Updates of the job row without a part of their condition."""
    real = items.update_arguments

    def arguments(changes: dict[str, Any], condition: str, values: dict[str, Any], *more: Any) -> dict[str, Any]:
        made = real(changes, condition, values, *more)
        if part in condition:
            made["ConditionExpression"] = f"attribute_exists(pk) AND ({condition.replace(part, instead)})"
            used = made["ConditionExpression"] + made["UpdateExpression"]
            for kind in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
                made[kind] = {name: value for name, value in made[kind].items() if _is_named(name, used)}
        return made

    def breaks(stack: ExitStack) -> None:
        for module in (items, jobs, leases):
            stack.enter_context(patch.object(module, "update_arguments", arguments))

    return breaks


def _is_named(placeholder: str, expressions: str) -> bool:
    end = expressions.find(placeholder) + len(placeholder)
    return placeholder in expressions and not expressions[end : end + 1].isalnum()


def _always(holder: Any, name: str, *, answer: Any) -> Breaking:
    """A function that always answers the same."""
    return lambda stack: stack.enter_context(patch.object(holder, name, lambda *_, **__: answer))


def _put_over(stack: ExitStack) -> None:
    def put(self: S3Store, key: str, body: bytes) -> bool:
        self.put(key, body)
        return True

    stack.enter_context(patch.object(S3Store, "put_once", put))


def _told_again(stack: ExitStack) -> None:
    real = DynamoJobs.succeed

    def succeed(self: DynamoJobs, *arguments: Any) -> bool:
        real(self, *arguments)
        return True

    stack.enter_context(patch.object(DynamoJobs, "succeed", succeed))


def _another_job(stack: ExitStack) -> None:
    tokens = itertools.count()
    stack.enter_context(patch.object(admission, "identity_token", lambda *_: f"{min(next(tokens), 2):020d}"))


def _created_over(stack: ExitStack) -> None:
    """The row does not guard against a second job of the object: it is made again."""

    def create(self: DynamoJobs, row: Any) -> bool:
        return self._write("put_item", "create", Item=items.to_item(row, **items.job_key_text(row.job_id)))

    stack.enter_context(patch.object(DynamoJobs, "create", create))


def _no_ending(stack: ExitStack) -> None:
    """The row's end is free although its result is settled."""
    real = DynamoJobs.fail

    def fail(self: DynamoJobs, job_id: str, generation: int, ended: str, error: dict[str, Any]) -> bool:
        row = self.load(job_id)
        if row.ending is None:
            return real(self, job_id, generation, ended, error)
        changes = {"status": "FAILED", "ended": ended, "error": error}
        return self._update(job_id, changes, "#status = :running", {":running": "RUNNING"})

    stack.enter_context(patch.object(DynamoJobs, "fail", fail))


def _any_range(stack: ExitStack) -> None:
    """Whatever S3 answers to a ranged GET of an object is taken for what was asked."""
    real = S3Client.get_object

    def get_object(self: S3Client, **arguments: Any) -> Any:
        answer = real(self, **arguments)
        if "Range" in arguments and "IfMatch" in arguments:
            size = answer.get("ContentRange", f"/{answer['ContentLength']}").rpartition("/")[2]
            answer["ContentRange"] = f"bytes {arguments['Range'].removeprefix('bytes=')}/{size}"
            answer["ResponseMetadata"] = {"HTTPStatusCode": 206}
        return answer

    stack.enter_context(patch.object(S3Client, "get_object", get_object))


def _broken_is_whole(stack: ExitStack) -> None:
    """A response that ends early is not asked for again."""
    real = S3Objects._get

    def read_span(self: S3Objects, pin: Any, span: Any) -> Iterator[bytes]:
        with suppress(BotoCoreError):
            yield from real(self, pin, span)

    stack.enter_context(patch.object(S3Objects, "_read_span", read_span))


def _dead_is_done(stack: ExitStack) -> None:
    """A slot without an outcome is forgotten."""
    stack.enter_context(patch.object(wave.Wave, "_missing", lambda *_: None))


def _never_parted(stack: ExitStack) -> None:
    """A slot whose worker died is handed out as it is, for ever."""
    stack.enter_context(patch.object(deaths, "parted", lambda slot: [messages.RetrySlot(slot.objects, slot.runs)]))


def _handed_out_twice(stack: ExitStack) -> None:
    """What a wave handed out stays on the retry list as well."""
    real = fetch.plan_wave

    def plan_wave(*arguments: Any, **more: Any) -> Any:
        slots, handout = real(*arguments, **more)
        again = [messages.RetrySlot(slot.objects, slot.runs) for slot in slots[:1]]
        return slots, msgspec.structs.replace(handout, retry=[*handout.retry, *again])

    stack.enter_context(patch.object(fetch, "plan_wave", plan_wave))


def _manifest_first(stack: ExitStack) -> None:
    real = S3Store.put

    def put(self: S3Store, key: str, body: bytes) -> None:
        if "/result" in key and key.startswith("results/"):
            manifest = b'{"output":["%s"],"proof":{"complete":true}}' % self.uri(key).encode()
            real(self, f"{key.rpartition('/')[0]}/_manifest.json", manifest)
        real(self, key, body)

    stack.enter_context(patch.object(S3Store, "put", put))


def _no_pointer(stack: ExitStack) -> None:
    """Outcomes that lie in S3 count, whether or not the row points at the checkpoint that holds them."""
    real = DynamoJobs.commit

    def commit(self: DynamoJobs, job_id: str, generation: int, wave: Any, pointer: str, *rest: Any, **more: Any) -> Any:
        self._update(job_id, {"pointer": pointer}, "#status = :running", {":running": "RUNNING"})
        return real(self, job_id, generation, wave, pointer, *rest, **more)

    stack.enter_context(patch.object(DynamoJobs, "commit", commit))


def _overwritten(seed: int) -> None:
    behaviours.test_6_an_unversioned_object_that_changes_fails_by_name_and_nothing_is_published(seed, "overwritten")


def _finish_dies(seed: int) -> None:
    for call in range(0, 16, 2):
        behaviours.test_10_a_finish_that_dies_at_any_moment_is_completed_by_its_repeat(call, "killed after")


def _finish_never_ends(seed: int) -> None:
    dies = behaviours.test_10_a_job_whose_finish_and_all_its_repeats_die_has_published_nothing_or_succeeds_by_itself
    for call in range(15 - seed, 8, -1):
        dies(call, "killed before")


def _laggard(seed: int) -> None:
    for overtaken in ("by its own repeat", "by the next generation"):
        behaviours.test_9_an_aggregate_that_stands_still_until_others_have_gone_on_has_no_effect(seed, overtaken)


_POISON: Final = behaviours.test_4_a_record_that_kills_its_workers_is_found_and_rejected_and_the_others_are_right
_AGAIN: Final = behaviours.test_2_an_event_that_comes_again_while_its_job_runs_and_after_its_end_changes_nothing
_TWICE: Final = behaviours.test_2_every_event_comes_three_times_and_every_state_runs_twice
_KILLED: Final = behaviours.test_8_every_wave_is_a_generation_and_workers_and_states_are_killed
_OLD: Final = behaviours.test_9_an_old_generation_that_wakes_up_has_no_effect
_DAMAGED: Final = behaviours.test_5_responses_that_are_refused_cut_short_or_of_another_range_change_nothing

MUTATIONS: Final = (
    Mutation("reads without If-Match", _without("IfMatch", "get_object"), (_overwritten,)),
    Mutation("once is over what was there", _put_over, (_TWICE,)),
    Mutation("outcomes without If-None-Match", _without("IfNoneMatch", "put_object", "/outcomes/"), (_TWICE,)),
    Mutation("waves without If-None-Match", _without("IfNoneMatch", "put_object", "/waves/"), (_TWICE,)),
    Mutation("a commit at any wave", _condition("#wave = :previous AND ", ""), (_laggard,)),
    Mutation("writes of any generation", _condition("#generation = :mine AND ", ""), (_laggard,)),
    Mutation("a checkpoint that nobody committed", _no_pointer, (_laggard,)),
    Mutation("the manifest before the result", _manifest_first, (_finish_dies,)),
    Mutation("a job that has its result fails", _no_ending, (_finish_never_ends,)),
    Mutation("every Finish tells people", _told_again, (_TWICE,)),
    Mutation("any object is proved", _always(closing, "is_whole", answer=True), (_KILLED,)),
    Mutation("any response is the span", _always(store, "_told", answer=ANY), (_DAMAGED,)),
    Mutation("any response is the range", _any_range, (_DAMAGED,)),
    Mutation("a read that broke off is whole", _broken_is_whole, (_DAMAGED,)),
    Mutation("an event makes a job whenever it comes", _another_job, (_TWICE,)),
    Mutation("a job is made over the one that is there", _created_over, (_AGAIN,)),
    Mutation("a slot that kills is not parted", _never_parted, (_POISON,)),
    Mutation("a killed worker's slot is done", _dead_is_done, (_KILLED,)),
    Mutation("a slot is handed out twice", _handed_out_twice, (_KILLED, _TWICE)),
)
