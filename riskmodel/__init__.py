"""The domain of Vigie: pure functions and small classes from tables to tables. It knows no web server and no store."""

from importlib.metadata import version

__version__ = version("vigie")
