"""Offline work on the domain: windows, back-tests, fitting. It knows nothing of the service."""
