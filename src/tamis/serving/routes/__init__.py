"""The routes of the HTTP API. Requests come in, JSON answers go out."""
