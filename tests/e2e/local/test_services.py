"""The services around the functions, in the ways in which Rangemill uses them."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.e2e.local.conftest import Probe, wait_for

from rangemill_cli.local.cloud import LocalCloud


def run(cloud: LocalCloud, machine: str, document: dict[str, Any]) -> dict[str, Any]:
    machines = cloud.client("stepfunctions")
    started = machines.start_execution(stateMachineArn=machine, input=json.dumps(document))

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = machines.describe_execution(executionArn=started["executionArn"])
        return None if found["status"] == "RUNNING" else found

    return wait_for(ended, 60)


def test_a_distributed_map_reads_its_items_from_s3_and_counts_every_one(probe: Probe) -> None:
    before = int((probe.item("count") or {"n": {"N": "0"}})["n"]["N"])
    probe.cloud.client("s3").put_object(
        Bucket=probe.outputs["Bucket"], Key="items.json", Body=json.dumps([{"number": number} for number in range(30)])
    )
    ended = run(probe.cloud, probe.outputs["Machine"], {"bucket": probe.outputs["Bucket"], "key": "items.json"})
    counted = probe.item("count")
    assert ended["status"] == "SUCCEEDED"
    assert counted is not None
    assert int(counted["n"]["N"]) == before + 30


def test_an_upload_reaches_the_function_with_its_key_as_it_is(probe: Probe) -> None:
    key = f"{uuid.uuid4()}/with space & ü + %41.txt"
    probe.cloud.client("s3").put_object(Bucket=probe.outputs["Bucket"], Key=key, Body=b"x")
    assert wait_for(lambda: probe.item(f"key/{key}"))


def test_failed_messages_of_a_batch_come_to_the_dead_letter_queue_alone(probe: Probe) -> None:
    queues = probe.cloud.client("sqs")
    mapping = probe.cloud.client("lambda").list_event_source_mappings(FunctionName=probe.outputs["QueueFunction"])
    name = mapping["EventSourceMappings"][0]["EventSourceArn"].rpartition(":")[2]
    url = queues.get_queue_url(QueueName=name)["QueueUrl"]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    tag = str(uuid.uuid4())
    for key in (f"poison/{tag}", f"fine/{tag}"):
        queues.send_message(QueueUrl=url, MessageBody=json.dumps({"key": key}))
    assert wait_for(lambda: probe.item(f"key/fine/{tag}"))

    def dead() -> str | None:
        found = queues.receive_message(QueueUrl=probe.outputs["DeadLetters"], WaitTimeSeconds=1).get("Messages", [])
        return next((message["Body"] for message in found if tag in message["Body"]), None)

    assert json.loads(wait_for(dead, 30))["key"] == f"poison/{tag}"


def test_batches_of_a_queue_run_at_the_same_time(probe: Probe) -> None:
    queues, functions = probe.cloud.client("sqs"), probe.cloud.client("lambda")
    url = queues.create_queue(QueueName=f"slow-{uuid.uuid4()}", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    keys = [f"slow/{uuid.uuid4()}" for _ in range(4)]
    for key in keys:
        queues.send_message(QueueUrl=url, MessageBody=json.dumps({"key": key, "seconds": 4}))
    mapping = functions.create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName=probe.outputs["QueueFunction"],
        BatchSize=1,
        ScalingConfig={"MaximumConcurrency": 4},
    )
    try:
        wait_for(lambda: all(probe.item(f"key/{key}") for key in keys) or None, 12)  # one by one it takes 16 s
    finally:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])


def test_what_a_target_refuses_goes_to_the_rules_dead_letter_queue(probe: Probe) -> None:
    rules, queues = probe.cloud.client("events"), probe.cloud.client("sqs")
    name = f"refused-{uuid.uuid4()}"
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    dead_letters = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    gone = "arn:aws:sqs:us-east-1:000000000000:no-such-queue"
    rules.put_targets(Rule=name, Targets=[{"Id": "gone", "Arn": gone, "DeadLetterConfig": {"Arn": dead_letters}}])
    rules.put_events(Entries=[{"Source": name, "DetailType": "test", "Detail": json.dumps({"number": 1})}])

    def dead() -> dict[str, Any] | None:
        found = queues.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"])
        return next(iter(found.get("Messages", [])), None)

    message = wait_for(dead)
    assert json.loads(message["Body"])["detail"] == {"number": 1}
    assert message["MessageAttributes"]["TARGET_ARN"]["StringValue"] == gone


def test_a_stopped_execution_says_why(probe: Probe) -> None:
    machines = probe.cloud.client("stepfunctions")
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}}
    machine = machines.create_state_machine(
        name=f"waiting-{uuid.uuid4()}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::000000000000:role/any",
    )["stateMachineArn"]
    execution = machines.start_execution(stateMachineArn=machine)["executionArn"]
    machines.stop_execution(executionArn=execution, error="Cancelled", cause="as asked")

    def stopped() -> dict[str, Any] | None:
        found: dict[str, Any] = machines.describe_execution(executionArn=execution)
        return None if found["status"] == "RUNNING" else found

    found = wait_for(stopped)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Cancelled", "as asked")


def test_conditional_writes_let_one_writer_through(probe: Probe) -> None:
    table = probe.cloud.client("dynamodb")
    key = {"pk": {"S": f"once-{uuid.uuid4()}"}}
    table.put_item(TableName=probe.outputs["Table"], Item=key, ConditionExpression="attribute_not_exists(pk)")
    try:
        table.put_item(TableName=probe.outputs["Table"], Item=key, ConditionExpression="attribute_not_exists(pk)")
    except table.exceptions.ConditionalCheckFailedException:
        return
    raise AssertionError("the second write went through")


def test_a_refused_transaction_takes_nothing_of_others_with_it(probe: Probe) -> None:
    table, name, tag = probe.cloud.client("dynamodb"), probe.outputs["Table"], str(uuid.uuid4())
    there = {"pk": {"S": f"there-{tag}"}}
    table.put_item(TableName=name, Item=there)

    def add(_: int) -> None:
        table.update_item(
            TableName=name,
            Key={"pk": {"S": f"sum-{tag}"}},
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    def refused(number: int) -> None:
        with pytest.raises(table.exceptions.TransactionCanceledException):
            table.transact_write_items(
                TransactItems=[
                    {"Put": {"TableName": name, "Item": {"pk": {"S": f"never-{tag}-{number}"}}}},
                    {"Put": {"TableName": name, "Item": there, "ConditionExpression": "attribute_not_exists(pk)"}},
                ]
            )

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(add if number % 2 else refused, number) for number in range(300)]:
            done.result()
    found = probe.item(f"sum-{tag}")
    assert found is not None
    assert found["n"] == {"N": "150"}
    assert probe.item(f"never-{tag}-0") is None
