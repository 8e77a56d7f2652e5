"""Addresses of this service in responses: under the prefix of the request, and absolute where the settings say so."""

from flask import request

from service.http.request_context import current_context


def link(path: str) -> str:
    """Return the address of a path of this service for the client of the current request."""
    return request.script_root + path


def public_site() -> str:
    """Return what precedes a path in a link that leaves the site: `base_url`, or else the prefix of the request."""
    return current_context().settings.base_url or request.script_root
