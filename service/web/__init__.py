"""HTML pages in English and French, rendered on the server: no scripts, and nothing loaded from other hosts."""
