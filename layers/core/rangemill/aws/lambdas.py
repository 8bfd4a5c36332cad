"""The account's Lambda functions: how many workers there may be, and waking `admit`."""

import logging
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_log: Final = logging.getLogger(__name__)


class AccountLambdas:
    """`gateways.Lambdas` on AWS Lambda."""

    def __init__(self, client: "LambdaClient", admit_function: str) -> None:
        self._client = client
        self._admit_function = admit_function

    def free_concurrency(self) -> int | None:
        """The concurrency of the account that no function has reserved; None when that cannot be learnt."""
        try:
            return self._client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        except (ClientError, BotoCoreError) as error:  # the limit that the stack names holds all the same
            _log.warning("the account's concurrency is not known: %s", error)
            return None

    def wake_admit(self) -> None:
        """Let `admit` run soon. What fails is logged and no more: the schedule does it within a minute."""
        if not self._admit_function:
            return
        try:
            self._client.invoke(FunctionName=self._admit_function, InvocationType="Event", Payload=b"{}")
        except (ClientError, BotoCoreError):
            _log.exception("admit could not be woken")
