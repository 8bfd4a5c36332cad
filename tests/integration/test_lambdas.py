"""How many workers the account allows, and waking `admit`; neither ever stops a job."""

from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from rangemill.aws.lambdas import AccountLambdas


class Client:
    """`boto3.client("lambda")`, which may refuse."""

    def __init__(self, free: int = 1_000, *, refuses: bool = False) -> None:
        self.free = free
        self.refuses = refuses
        self.invoked: list[dict[str, Any]] = []

    def get_account_settings(self) -> dict[str, Any]:
        self._refuse("GetAccountSettings")
        return {"AccountLimit": {"ConcurrentExecutions": 1_000, "UnreservedConcurrentExecutions": self.free}}

    def invoke(self, **request: Any) -> Any:
        self._refuse("Invoke")
        self.invoked.append(request)
        return SimpleNamespace()

    def _refuse(self, operation: str) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)


def lambdas(client: Client, name: str = "stack-admit") -> AccountLambdas:
    return AccountLambdas(client, name)  # type: ignore[arg-type]  # stands for the client


def test_what_no_function_has_reserved_is_there_for_workers() -> None:
    assert lambdas(Client(350)).free_concurrency() == 350


def test_who_may_not_ask_goes_by_the_stacks_own_limit() -> None:
    assert lambdas(Client(refuses=True)).free_concurrency() is None


def test_admit_is_woken_without_waiting_for_it() -> None:
    client = Client()
    lambdas(client).wake_admit()
    lambdas(client, "").wake_admit()  # a function that was not told its name
    assert client.invoked == [{"FunctionName": "stack-admit", "InvocationType": "Event", "Payload": b"{}"}]


def test_a_job_goes_on_when_admit_cannot_be_woken() -> None:
    lambdas(Client(refuses=True)).wake_admit()
