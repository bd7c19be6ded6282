"""The studio as a server: an API under /v1, and pages. `create_app(settings)` is in `packshot.server.app`."""
