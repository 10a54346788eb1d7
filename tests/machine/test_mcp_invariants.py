"""The invariants of the design, on random sessions whose tools are on an MCP server."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from server.realtime.inbox import McpListingFailed, McpReturned, McpToolsListed
from server.realtime.mcp_schema import McpError, McpListedTool
from tests.machine.test_invariants import Sessions

RESULTS: list[Any] = ["found", "", McpError(type="tool_execution_error", message="broken")]
TOOLS = (McpListedTool(name="look_up"),)


class SessionsWithServers(Sessions):
    @rule(approval=st.sampled_from(["never", "always", None]), label=st.sampled_from(["a", "b"]))
    def client_changes_servers(self, approval: str | None, label: str) -> None:
        server = {"type": "mcp", "server_label": label, "server_url": "http://localhost:9/mcp"}
        tools = [{**server, "require_approval": approval}] if approval else []
        sent = self.world.client(type="session.update", session={"type": "realtime", "tools": tools})
        assert sent[0]["type"] == "session.updated"

    @precondition(lambda self: self.world.listings)
    @rule(fails=st.booleans())
    def list_arrives(self, fails: bool) -> None:
        listing = self.world.listings.pop(0).listing
        self.world.handle(McpListingFailed(listing, "broken") if fails else McpToolsListed(listing, TOOLS))

    @precondition(lambda self: self.world.mcp_calls)
    @rule(data=st.data(), result=st.sampled_from(RESULTS))
    def call_returns(self, data: st.DataObject, result: Any) -> None:
        # Cancelled ones too: what was on its way still arrives.
        call = data.draw(st.sampled_from(self.world.mcp_calls))
        self.world.mcp_calls.remove(call)
        sent = self.world.handle(McpReturned(call.call, result))
        cancelled = call.call in [cancelled.call for cancelled in self.world.cancelled_calls]
        assert cancelled == (not any(event["type"].startswith("response.mcp_call.") for event in sent))

    @rule(data=st.data(), approve=st.booleans())
    def client_answers_a_request(self, data: st.DataObject, approve: bool) -> None:
        requests = [
            event["item"]["id"]
            for event in self.world.wire.of_type("response.output_item.added")
            if event["item"]["type"] == "mcp_approval_request"
        ]
        request = data.draw(st.sampled_from([*requests, "item_unknown"]))
        item = {"type": "mcp_approval_response", "approval_request_id": request, "approve": approve}
        sent = self.world.client(type="conversation.item.create", item=item)
        assert sent[0]["type"] in ("conversation.item.added", "error")

    def teardown(self) -> None:
        while self.world.listings:
            self.list_arrives(fails=False)
        for run in self._unfinished():
            if not run.cancelled:
                self.world.step_run(run, "finish")
        for call in list(self.world.mcp_calls):
            self.world.handle(McpReturned(call.call, "the end"))
        self.world.mcp_calls.clear()
        super().teardown()
        cancelled = {command.call for command in self.world.cancelled_calls}
        assert {call.call for call in self.world.mcp_calls} <= cancelled, "no call outlives the session (10)"


SessionsWithServers.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSessionsWithServers = SessionsWithServers.TestCase
