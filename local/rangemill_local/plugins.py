"""What LocalStack finds through its entry points: the executor, the server on loopback, and DynamoDB on moto."""

import threading

from localstack.aws.api import RequestContext, ServiceRequest, ServiceResponse
from localstack.aws.api.core import ServiceRequestHandler
from localstack.aws.skeleton import DispatchTable
from localstack.runtime.server.core import RuntimeServer, RuntimeServerPlugin
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from localstack.services.plugins import Service, aws_provider
from localstack.utils.catalog.catalog import CatalogPlugin
from localstack.utils.catalog.common import CloudFormationResourcesSupportAtRuntime


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """`LAMBDA_RUNTIME_EXECUTOR=rangemill`: functions as local processes."""

    name = "rangemill"

    def load(self, *_args: object, **_kwargs: object) -> type[RuntimeExecutor]:
        """Return the executor's class (imported here: LocalStack lists plugins long before it needs one)."""
        from rangemill_local.executor import ProcessExecutor  # noqa: PLC0415

        return ProcessExecutor


class LoopbackServerPlugin(RuntimeServerPlugin):
    """`GATEWAY_SERVER=rangemill`: LocalStack's own server, listening where it was told to."""

    name = "rangemill"

    def load(self, *_args: object, **_kwargs: object) -> RuntimeServer:
        """Return a server that is not started yet."""
        from rangemill_local.loopback import LoopbackServer  # noqa: PLC0415

        return LoopbackServer()


@aws_provider(api="dynamodb", name="rangemill")
def dynamodb() -> Service:
    """DynamoDB on moto: the provider that ships wants a Java download."""
    from localstack.aws.api.dynamodb import DynamodbApi  # noqa: PLC0415

    return Service.for_provider(DynamodbApi(), dispatch_table_factory=_one_at_a_time)


def _one_at_a_time(provider: object) -> DispatchTable:
    """Return moto's handlers behind one lock.

    A transaction that moto refuses puts its tables back as they were before it, and takes with it what others wrote
    meanwhile: 5 of 150 updates were lost beside 150 refused transactions.
    """
    from localstack.services.moto import MotoFallbackDispatcher  # noqa: PLC0415

    lock = threading.Lock()

    def behind_lock(handler: ServiceRequestHandler) -> ServiceRequestHandler:
        def call(context: RequestContext, request: ServiceRequest) -> ServiceResponse | None:
            with lock:
                return handler(context, request)

        return call

    return {operation: behind_lock(handler) for operation, handler in MotoFallbackDispatcher(provider).items()}


@aws_provider(api="dynamodbstreams", name="rangemill")
def dynamodbstreams() -> Service:
    """Streams of the tables above."""
    from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi  # noqa: PLC0415
    from localstack.services.moto import MotoFallbackDispatcher  # noqa: PLC0415

    return Service.for_provider(DynamodbstreamsApi(), dispatch_table_factory=MotoFallbackDispatcher)


class OfflineCatalogPlugin(CatalogPlugin):
    """What this LocalStack can create, asked of itself.

    The one that ships asks LocalStack's servers over the network, and without an answer calls every resource type
    unsupported. LocalStack prefers a plugin of this name.
    """

    name = "aws-catalog-remote-state-with-license"

    def get_aws_service_status(self, service_name: str, operation_name: str | None = None) -> None:  # noqa: ARG002
        """Say nothing about services: LocalStack's own error stands."""
        return

    def get_cloudformation_resource_status(
        self,
        resource_name: str,
        service_name: str,  # noqa: ARG002
        is_pro_resource: bool = False,  # noqa: ARG002
    ) -> CloudFormationResourcesSupportAtRuntime:
        """Return AVAILABLE for a type that has a provider here; the others fail the deploy."""
        if resource_name in self._get_cfn_resources_available_at_runtime():
            return CloudFormationResourcesSupportAtRuntime.AVAILABLE
        return CloudFormationResourcesSupportAtRuntime.NOT_IMPLEMENTED
