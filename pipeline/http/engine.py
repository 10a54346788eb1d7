"""What the engines that call a service have in common."""

from pipeline.http.client import HttpClient
from pipeline.http.models_list import check_endpoint
from pipeline.http.options import EndpointOptions


class ServiceEngine:
    """Base of the engines behind an HTTP endpoint: the way there, and its end."""

    devices = ()

    def __init__(self, stage: str, options: EndpointOptions, model: str) -> None:
        """Connects to nothing yet. `model` is its name at the endpoint.

        Raises:
            EngineError: an option cannot be meant.
        """
        self.client = HttpClient(stage, options)
        self.device = self.client.endpoint.host
        self._model = model

    def warm_up(self) -> None:
        """Asks the endpoint for its models, which also makes the first connection.

        Raises:
            EngineError: it does not take the key.
        """
        check_endpoint(self.client, self._model)

    def close(self) -> None:
        """Ends all requests and connections."""
        self.client.close()
