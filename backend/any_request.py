"""Every kind of request that the queue carries."""

from backend.grids.request import GridRequest
from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest

Request = GenerationRequest | UpscaleRequest | GridRequest


def read_request(text: str) -> Request:
    """The request whose `to_json` wrote `text`. Raises `InvalidRequest` if none did."""
    for kind in (UpscaleRequest, GridRequest):
        if kind.wrote(text):
            return kind.from_json(text)
    return GenerationRequest.from_json(text)
