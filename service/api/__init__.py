"""The API: one module per resource, JSON out, every error a problem document (RFC 9457)."""
