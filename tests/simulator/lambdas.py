"""The functions as they are deployed: the real handlers, with the template's variables and the simulator's session.

While `installed`, time stands in the world's clock, random names come from its seed, and what the code would do in
threads is done at once: whose turn it is, the simulator says.
"""

import importlib.util
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Protocol
from unittest.mock import patch

import yaml
from tests.simulator.machine import ROOT

from rangemill import aggregate, catalog, code, pages, pinning, stopping
from rangemill.aws import ahead, gateways, objects, pressure
from rangemill.compression import looking
from rangemill.pipeline import parse_pipeline

FUNCTIONS: Final = ("ingest", "admit", "sweep", "plan", "fetch", "apply", "aggregate", "finish", "abandon")
_OWN: Final = {
    "WORK_BUCKET": "work",
    "WRITABLE_BUCKETS": "work",
    "JOB_TABLE": "table",
    "TOPIC_ARN": "topic",
    "ADMIT_FUNCTION": "simulated-admit",
}


class Session(Protocol):
    """What a world gives the code under test."""

    now: float
    machine: str
    environment: dict[str, str]
    code: Any
    catalog: catalog.Catalog
    random: Any
    user_code: ModuleType

    def client(self, service: str, **_: Any) -> Any:
        """A boto3 client."""

    def moment(self) -> Any:
        """The clock, as a datetime."""

    def watch_answers(self, client: Any, pressure: Any) -> None:
        """Count the client's answers there."""

    def sleep(self, seconds: float) -> None:
        """Time passes for whoever runs."""

    def token(self, size: int) -> str:
        """Hexadecimal digits nobody else has."""


@cache
def handler_modules() -> dict[str, ModuleType]:
    """`functions/<name>/app.py` by their names."""
    os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")
    found: dict[str, ModuleType] = {}
    for name in FUNCTIONS:
        spec = importlib.util.spec_from_file_location(f"simulated_{name}", ROOT / f"functions/{name}/app.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[name.capitalize()] = module
    return found


@cache
def template_resources() -> dict[str, Any]:
    """The template's resources and parameters; its tags as `{"Ref": …}` and the like."""

    class Loader(yaml.SafeLoader):
        pass

    def tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return {suffix: loader.construct_scalar(node)}
        if isinstance(node, yaml.SequenceNode):
            return {suffix: loader.construct_sequence(node, deep=True)}
        assert isinstance(node, yaml.MappingNode)
        return {suffix: loader.construct_mapping(node, deep=True)}

    Loader.add_multi_constructor("!", tagged)
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader)
    return loaded


def timeout_seconds(function: str) -> int:
    """The function's own timeout."""
    return int(template_resources()["Resources"][f"{function}Function"]["Properties"]["Timeout"])


def environment(machine: str, changes: dict[str, str]) -> dict[str, str]:
    """All functions' variables: what the template's parameters say by default, and the simulator's own."""
    loaded = template_resources()
    found: dict[str, str] = {}
    for function in FUNCTIONS:
        properties = loaded["Resources"][f"{function.capitalize()}Function"]["Properties"]
        for name, value in properties["Environment"]["Variables"].items():
            default = (
                loaded["Parameters"].get(value.get("Ref"), {}).get("Default") if isinstance(value, dict) else value
            )
            if default not in (None, ""):
                found[name] = str(default)
    return {**found, **_OWN, "STATE_MACHINE_ARN": machine, **changes}


class _Inline:
    """An executor that does at once what it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "_Inline":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Done at once; an error is raised where the result is asked for, as a thread's would be."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def map(self, function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        """One after the other."""
        return map(function, *arguments)


def _entry(text: str) -> catalog.Entry:
    pipeline = parse_pipeline(text, "simulated.yaml")
    return catalog.Entry(pipeline, text, f"{pipeline.name}.yaml")


@cache
def entries(*texts: str) -> catalog.Catalog:
    """A catalog of these pipeline documents."""
    found = [_entry(text) for text in texts]
    return catalog.Catalog({entry.pipeline.name: entry for entry in found}, [])


@contextmanager
def installed(world: Session) -> Iterator[None]:
    """The code under test lives in that world."""
    modules = handler_modules()
    time_ = SimpleNamespace(
        sleep=world.sleep,
        time=lambda: world.now,
        monotonic=lambda: world.now,
        perf_counter=lambda: world.now,
        thread_time=lambda: world.now,
        process_time=lambda: world.now,
    )
    names = SimpleNamespace(token_hex=world.token)
    with ExitStack() as stack:
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("rangemill."):
                for name, own in (("time", time_), ("secrets", names), ("random", world.random)):
                    if isinstance(getattr(module, name, None), types.ModuleType):
                        stack.enter_context(patch.object(module, name, own))
        for module in (aggregate, pinning, looking):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", _Inline))
        stack.enter_context(patch.object(objects, "Ahead", partial(ahead.Ahead, connections=0)))
        stack.enter_context(patch.object(stopping.StopSignal.__init__, "__defaults__", (lambda: world.now,)))
        stack.enter_context(patch.object(gateways, "now", world.moment))
        stack.enter_context(patch.object(pressure, "watch", world.watch_answers))
        stack.enter_context(patch.object(code, "identity", lambda: world.code))
        stack.enter_context(patch.object(catalog, "deployed", lambda: world.catalog))
        stack.enter_context(patch.dict(os.environ, world.environment))
        stack.enter_context(patch.dict(sys.modules, {world.user_code.__name__: world.user_code}))
        logging.disable(logging.CRITICAL)
        pages.pipeline.cache_clear()
        for module in modules.values():
            stack.enter_context(patch.object(module, "Clients", lambda: world))
            if hasattr(module, "measure"):
                stack.enter_context(patch.object(module, "measure", lambda *_, **__: None))
            module.wired.cache_clear()
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            for module in modules.values():
                module.wired.cache_clear()


def context_of(world: Session, deadline: float, request_id: str, memory_mb: int = 1769) -> Any:
    """What Lambda hands to a handler."""
    return SimpleNamespace(
        function_name="simulated",
        memory_limit_in_mb=memory_mb,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:simulated",
        aws_request_id=request_id,
        get_remaining_time_in_millis=lambda: int((deadline - world.now) * 1000),
    )
