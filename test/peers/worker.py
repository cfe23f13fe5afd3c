"""A Temporal worker whose Nexus service, HelloService, is what the demo calls.

    worker.py ADDRESS NAMESPACE TASK_QUEUE

Operations: Echo (answers at once), Links (answers with the links it was given),
Headers (answers with the header "key"), Flaky (fails twice for each request id),
Uncancelable (refuses cancel requests, with that header), and some that are
workflows whose id is the request id: SayHello, Sleep (until canceled or so many
seconds), Fail, Nothing (no input, no result), Wait (until it gets the signal
"release"), Expire (the same, for a second), CleanUp (canceled, it waits for that
signal first), Ignore (goes on until it).  Shared is one workflow, waiting for the
signal, for all that ask with the same message: "use-existing", or "fail" where it
is there already.
"""
import asyncio
import collections
import dataclasses
import datetime
import enum
import signal
import sys

import nexusrpc
import nexusrpc.handler
from temporalio import nexus, workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

FLAKY_FAILURES = 2
MAX_CONCURRENT = 500


@dataclasses.dataclass
class Message:
    Message: str


class SpokenLanguage(str, enum.Enum):
    EN = "En"
    FR = "Fr"
    DE = "De"
    ES = "Es"
    TR = "Tr"


GREETINGS = {
    SpokenLanguage.EN: "Hello {} 👋",
    SpokenLanguage.FR: "Bonjour {} 👋",
    SpokenLanguage.DE: "Hallo {} 👋",
    SpokenLanguage.ES: "¡Hola! {} 👋",
    SpokenLanguage.TR: "Merhaba {} 👋",
}


@dataclasses.dataclass
class Greeting:
    Name: str
    Language: SpokenLanguage = SpokenLanguage.EN


@dataclasses.dataclass
class Duration:
    Seconds: float = 3600


@workflow.defn
class SayHelloWorkflow:
    @workflow.run
    async def run(self, greeting: Greeting) -> Message:
        return Message(GREETINGS[greeting.Language].format(greeting.Name))


@workflow.defn
class SleepWorkflow:
    @workflow.run
    async def run(self, duration: Duration) -> Message:
        await workflow.sleep(datetime.timedelta(seconds=duration.Seconds))
        return Message(f"slept for {duration.Seconds:g} s")


@workflow.defn
class FailWorkflow:
    @workflow.run
    async def run(self, message: Message) -> Message:
        raise ApplicationError(message.Message, {"left": 0}, type="Refused", non_retryable=True)


@workflow.defn
class NothingWorkflow:
    @workflow.run
    async def run(self) -> None:
        pass


@workflow.defn
class WaitWorkflow:
    def __init__(self) -> None:
        self.is_released = False

    @workflow.run
    async def run(self, message: Message) -> Message:
        await workflow.wait_condition(lambda: self.is_released)
        return message

    @workflow.signal
    def release(self) -> None:
        self.is_released = True


@workflow.defn
class CleanUpWorkflow:
    """Once canceled it has something to put away first, until it gets the signal "release"."""

    def __init__(self) -> None:
        self.is_released = False

    @workflow.run
    async def run(self, message: Message) -> Message:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: self.is_released)
            raise
        return message

    @workflow.signal
    def release(self) -> None:
        self.is_released = True


@workflow.defn
class IgnoreWorkflow:
    """Goes on whoever cancels it, until it gets the signal "release"."""

    def __init__(self) -> None:
        self.is_released = False

    @workflow.run
    async def run(self, message: Message) -> Message:
        while not self.is_released:
            try:
                await workflow.wait_condition(lambda: self.is_released)
            except asyncio.CancelledError:
                continue
        return message

    @workflow.signal
    def release(self) -> None:
        self.is_released = True


class UncancelableHandler(nexusrpc.handler.OperationHandler[Message, Message]):
    """Starts something that nobody completes, and that cannot be canceled."""

    async def start(self, ctx: nexusrpc.handler.StartOperationContext,
                    message: Message) -> nexusrpc.handler.StartOperationResultAsync:
        return nexusrpc.handler.StartOperationResultAsync(token=ctx.request_id)

    async def cancel(self, ctx: nexusrpc.handler.CancelOperationContext, token: str) -> None:
        raise nexusrpc.HandlerError(f"cannot be canceled {ctx.headers.get('key', '')}".rstrip(),
                                    type=nexusrpc.HandlerErrorType.NOT_IMPLEMENTED)


@nexusrpc.service
class HelloService:
    Echo: nexusrpc.Operation[Message, Message]
    Links: nexusrpc.Operation[Message, Message]
    Headers: nexusrpc.Operation[Message, Message]
    Flaky: nexusrpc.Operation[Message, Message]
    SayHello: nexusrpc.Operation[Greeting, Message]
    Sleep: nexusrpc.Operation[Duration, Message]
    Fail: nexusrpc.Operation[Message, Message]
    Nothing: nexusrpc.Operation[None, None]
    Wait: nexusrpc.Operation[Message, Message]
    Expire: nexusrpc.Operation[Message, Message]
    Shared: nexusrpc.Operation[Message, Message]
    CleanUp: nexusrpc.Operation[Message, Message]
    Ignore: nexusrpc.Operation[Message, Message]
    Uncancelable: nexusrpc.Operation[Message, Message]


@nexusrpc.handler.service_handler(service=HelloService)
class HelloHandler:
    def __init__(self) -> None:
        self.attempts: collections.Counter[str] = collections.Counter()

    @nexusrpc.handler.sync_operation
    async def Echo(self, ctx: nexusrpc.handler.StartOperationContext, message: Message) -> Message:
        return message

    @nexusrpc.handler.sync_operation
    async def Links(self, ctx: nexusrpc.handler.StartOperationContext, message: Message) -> Message:
        return Message(" ".join(f"{link.type} {link.url}" for link in ctx.inbound_links))

    @nexusrpc.handler.sync_operation
    async def Headers(self, ctx: nexusrpc.handler.StartOperationContext, message: Message) -> Message:
        return Message(ctx.headers.get("key", ""))

    @nexusrpc.handler.sync_operation
    async def Flaky(self, ctx: nexusrpc.handler.StartOperationContext, message: Message) -> Message:
        self.attempts[ctx.request_id] += 1
        if self.attempts[ctx.request_id] <= FLAKY_FAILURES:
            raise nexusrpc.HandlerError("not yet", type=nexusrpc.HandlerErrorType.UNAVAILABLE)
        return message

    @nexus.workflow_run_operation
    async def SayHello(self, ctx: nexus.WorkflowRunOperationContext,
                       greeting: Greeting) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(SayHelloWorkflow.run, greeting, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Sleep(self, ctx: nexus.WorkflowRunOperationContext,
                    duration: Duration) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(SleepWorkflow.run, duration, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Fail(self, ctx: nexus.WorkflowRunOperationContext,
                   message: Message) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(FailWorkflow.run, message, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Wait(self, ctx: nexus.WorkflowRunOperationContext,
                   message: Message) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(WaitWorkflow.run, message, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Nothing(self, ctx: nexus.WorkflowRunOperationContext, nothing: None) -> nexus.WorkflowHandle[None]:
        return await ctx.start_workflow(NothingWorkflow.run, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Expire(self, ctx: nexus.WorkflowRunOperationContext,
                     message: Message) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(WaitWorkflow.run, message, id=ctx.request_id,
                                        execution_timeout=datetime.timedelta(seconds=1))

    @nexus.workflow_run_operation
    async def Shared(self, ctx: nexus.WorkflowRunOperationContext,
                     message: Message) -> nexus.WorkflowHandle[Message]:
        policy = WorkflowIDConflictPolicy.FAIL
        if message.Message == "use-existing":
            policy = WorkflowIDConflictPolicy.USE_EXISTING
        return await ctx.start_workflow(WaitWorkflow.run, message, id=f"shared-{message.Message}",
                                        id_conflict_policy=policy)

    @nexus.workflow_run_operation
    async def CleanUp(self, ctx: nexus.WorkflowRunOperationContext,
                      message: Message) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(CleanUpWorkflow.run, message, id=ctx.request_id)

    @nexus.workflow_run_operation
    async def Ignore(self, ctx: nexus.WorkflowRunOperationContext,
                     message: Message) -> nexus.WorkflowHandle[Message]:
        return await ctx.start_workflow(IgnoreWorkflow.run, message, id=ctx.request_id)

    @nexusrpc.handler.operation_handler
    def Uncancelable(self) -> nexusrpc.handler.OperationHandler[Message, Message]:
        return UncancelableHandler()


async def main(address: str, namespace: str, task_queue: str) -> None:
    client = await Client.connect(address, namespace=namespace)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Worker(
            client, task_queue=task_queue, nexus_service_handlers=[HelloHandler()],
            workflows=[SayHelloWorkflow, SleepWorkflow, FailWorkflow, NothingWorkflow, WaitWorkflow, CleanUpWorkflow,
                       IgnoreWorkflow],
            max_cached_workflows=MAX_CONCURRENT):
        print("polling", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
