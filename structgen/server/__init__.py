"""An OpenAI-compatible HTTP server whose response formats are enforced exactly."""

from structgen.server.app import create_app

__all__ = ["create_app"]
