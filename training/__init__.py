"""Offline work on models: back-tests, fitting, the gate, model cards. It does not know the service."""
