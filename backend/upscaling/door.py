"""What happens to an upscale at the door, before it is queued."""

from dataclasses import replace

from backend.imaging.upscale import Upscalers
from backend.inputs import Inputs
from backend.upscaling.operations import checked_operations
from backend.upscaling.request import NOTHING, UpscaleRequest


def prepare(request: UpscaleRequest, upscalers: Upscalers, inputs: Inputs) -> UpscaleRequest:
    """The request with exact names. Raises `UserError` for an upscaler, an operation or a picture that is not
    there, and for one that would become too large."""
    for name in set(request.inputs):
        request.target(*inputs.size(name))
    return replace(
        request,
        upscaler=upscalers.exact(request.upscaler),
        upscaler_2=upscalers.exact(request.upscaler_2) if request.upscaler_2 else NOTHING,
        operations=checked_operations(request.operations),
    )
