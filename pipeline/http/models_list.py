"""What an endpoint says about itself when Parley starts: does it answer, does it take the key, has it the model."""

import asyncio
import difflib
import json
import logging

from pipeline.errors import EngineError, StageError
from pipeline.http.client import HttpClient
from pipeline.http.failures import HttpError
from pipeline.http.replies import whole

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long the start waits for the list."""


def check_endpoint(client: HttpClient, model: str) -> None:
    """Asks the endpoint for its models, once. Only a refused key stops the start: an endpoint may come up later, and
    not every one lists its models, or all of them.

    Raises:
        EngineError: it does not take the key.
    """
    host = client.endpoint.host
    try:
        listed = client.run(lambda: _models(client))
    except HttpError as error:
        if error.status in (401, 403):
            problem = f"{host} refuses this key." if client.endpoint.secrets else f"{host} wants a key."
            mend = "Write `api_key: ${NAME}`, and set the environment variable NAME to the right one."
            raise EngineError(problem, mend, "api_key") from error
        if error.status not in (404, 405, 501):
            log.warning("%s Requests may fail.", error.problem)
        elif "/v1" not in client.endpoint.base.path:
            log.warning("%s has no list of models under %s: most base_urls end with /v1.", host, client.endpoint.base)
        return
    except StageError as error:
        log.warning("%s does not answer yet: %s Requests fail until it does.", host, error.problem)
        return
    if listed and model not in listed and f"{model}:latest" not in listed:
        close = difflib.get_close_matches(model, listed, n=3, cutoff=0.3) or sorted(listed)[:3]
        log.warning("%s does not list the model `%s`; it lists %s.", host, model, ", ".join(f"`{m}`" for m in close))


async def _models(client: HttpClient) -> set[str]:
    try:
        async with asyncio.timeout(TIMEOUT_S), client.request("GET", "models") as response:
            body = await whole(response, client.fail)
    except TimeoutError:
        raise client.fail.of_reply(f"gave no list of its models within {TIMEOUT_S:g} s") from None
    try:
        value = json.loads(body)
        return {str(entry["id"]) for entry in value["data"]}
    except (ValueError, RecursionError, TypeError, LookupError):
        raise client.fail.of_reply("answers with something that is not a list of models") from None
