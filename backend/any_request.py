"""Every kind of request that the queue carries."""

from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest

Request = GenerationRequest | UpscaleRequest


def read_request(text: str) -> Request:
    """The request whose `to_json` wrote `text`. Raises `InvalidRequest` if none did."""
    kind = UpscaleRequest if UpscaleRequest.wrote(text) else GenerationRequest
    return kind.from_json(text)
