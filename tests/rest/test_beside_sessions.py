"""Requests and live sessions on one server."""

import aiohttp
import pytest

from tests.fakes import FakeModel
from tests.rest.conftest import Serve
from tests.threads import until
from tests.wire_checker import next_on


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_session_is_gone_when_its_client_is(
    serve: Serve, abruptly: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = FakeModel()
    async with serve(llm=model) as api, aiohttp.ClientSession() as client:
        socket = await client.ws_connect(f"{api.url}/realtime?model=mini")
        assert next_on(socket, await socket.receive_json())["type"] == "session.created"
        assert model.open_streams == 1
        if abruptly:
            connection = socket.get_extra_info("socket")
            assert connection is not None
            socket._writer.transport.abort()  # as when its machine loses power
        else:
            await socket.close()
        await until(lambda: model.open_streams == 0)
        assert (await api.client.models.list()).data
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
