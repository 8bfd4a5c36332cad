"""Lambda: updates of a function at work, and queues."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from localstack.aws.api.lambda_ import EventSourceMappingConfiguration, State, StateReasonCode
from localstack.services.cloudformation.resource_provider import OperationStatus, ProgressEvent, ResourceRequest
from localstack.services.lambda_.event_source_mapping.esm_worker import EsmWorker
from localstack.services.lambda_.event_source_mapping.pollers.sqs_poller import SqsPoller
from localstack.services.lambda_.invocation.lambda_models import VersionState
from localstack.services.lambda_.invocation.logs import QUEUE_SHUTDOWN, LogHandler
from localstack.services.lambda_.invocation.version_manager import LambdaVersionManager
from localstack.services.lambda_.resource_providers.aws_lambda_function import LambdaFunctionProvider

LOG = logging.getLogger(__name__)

SQS_DEFAULT_BATCHES = 5  # AWS begins with five concurrent batches of a standard queue


def finish_before_update() -> None:
    """An old version lets its invocations end and keeps their logs; LocalStack closes the log first."""
    for needed in ("log_handler", "assignment_service", "shutdown_event"):
        if needed not in LambdaVersionManager.__annotations__:
            raise AttributeError(f"LambdaVersionManager has no {needed}")

    def stop(self: LambdaVersionManager) -> None:
        self.state = VersionState(state=State.Inactive, code=StateReasonCode.Idle, reason="Shutting down")
        self.shutdown_event.set()
        self.assignment_service.stop_environments_for_version(self.id)
        self.log_handler.stop()

    def stop_log(self: LogHandler) -> None:
        if self._thread:
            self.log_queue.put(QUEUE_SHUTDOWN)  # behind what still waits to be written
            self._thread.join(timeout=10)
            self._thread = None
        self._shutdown_event.set()

    LambdaVersionManager.stop = stop
    LogHandler.stop = stop_log


def concurrent_batches() -> None:
    """A mapping of a standard queue runs several batches at once, at most ScalingConfig.MaximumConcurrency."""
    create, poll, handle, close = EsmWorker.__init__, SqsPoller.poll_events, SqsPoller.handle_messages, SqsPoller.close

    def init(self: EsmWorker, esm_config: EventSourceMappingConfiguration, poller: object, *rest, **named) -> None:
        create(self, esm_config, poller, *rest, **named)
        if isinstance(poller, SqsPoller):
            batches = (esm_config.get("ScalingConfig") or {}).get("MaximumConcurrency") or SQS_DEFAULT_BATCHES
            poller.rangemill_pool = ThreadPoolExecutor(batches, thread_name_prefix="sqs-batch")
            poller.rangemill_free = threading.Semaphore(batches)

    def poll_events(self: SqsPoller) -> None:
        # Nothing is received that nobody could take: a message's visibility runs from its receipt.
        with self.rangemill_free:
            pass
        poll(self)

    def handle_messages(self: SqsPoller, messages: list[dict]) -> None:
        if self.is_fifo_queue:
            handle(self, messages)
            return
        self.rangemill_free.acquire()
        self.rangemill_pool.submit(_handle, self, messages)

    def _handle(poller: SqsPoller, messages: list[dict]) -> None:
        try:
            handle(poller, messages)
        except Exception as error:  # noqa: BLE001 - as the poller itself: the messages come back
            LOG.warning("Batch processing failed: %s", error)
        finally:
            poller.rangemill_free.release()

    def close_poller(self: SqsPoller) -> None:
        self.rangemill_pool.shutdown(wait=False)
        close(self)

    EsmWorker.__init__ = init
    SqsPoller.poll_events = poll_events
    SqsPoller.handle_messages = handle_messages
    SqsPoller.close = close_poller


def forgotten_properties() -> None:
    """ReservedConcurrentExecutions holds, and a new EphemeralStorage too; LocalStack's CloudFormation forgets them."""
    create, update = LambdaFunctionProvider.create, LambdaFunctionProvider.update

    def reserve(request: ResourceRequest, event: ProgressEvent) -> ProgressEvent:
        if event.status != OperationStatus.SUCCESS:
            return event
        client = request.aws_client_factory.lambda_
        name = event.resource_model["FunctionName"]
        reserved = request.desired_state.get("ReservedConcurrentExecutions")
        if reserved is not None:
            client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(reserved))
        elif (request.previous_state or {}).get("ReservedConcurrentExecutions") is not None:
            client.delete_function_concurrency(FunctionName=name)
        return event

    def store(request: ResourceRequest, event: ProgressEvent) -> ProgressEvent:
        if event.status == OperationStatus.SUCCESS and (storage := request.desired_state.get("EphemeralStorage")):
            client = request.aws_client_factory.lambda_
            name = event.resource_model["FunctionName"]
            client.update_function_configuration(FunctionName=name, EphemeralStorage={"Size": int(storage["Size"])})
            client.get_waiter("function_updated_v2").wait(FunctionName=name)
        return reserve(request, event)

    LambdaFunctionProvider.create = lambda self, request: reserve(request, create(self, request))
    LambdaFunctionProvider.update = lambda self, request: store(request, update(self, request))


PATCHES = (finish_before_update, concurrent_batches, forgotten_properties)
