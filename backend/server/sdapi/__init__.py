"""AUTOMATIC1111's HTTP interface, ``/sdapi/v1/*`` and ``/controlnet/*``, over the jobs of everything else."""

from backend.server.sdapi.routes import router

__all__ = ["router"]
