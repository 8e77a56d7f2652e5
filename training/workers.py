"""How the windows of a back-test are shared out: one after the other here, over processes, or over a Dask cluster.

Every way gives the same results, in whatever order they are done. It knows nothing of what is worked on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from riskmodel.errors import BadInput, SourceUnavailable

Case = TypeVar("Case")
Shared = TypeVar("Shared")
Result = TypeVar("Result")

PATIENCE = "20s"
"""How long a Dask scheduler may take to answer."""


@dataclass(frozen=True)
class Workers:
    """`jobs` processes of one thread each; with 1, this process and its threads; or the workers of a Dask scheduler."""

    jobs: int = 1
    dask: str | None = None

    def each(
        self, work: Callable[[Shared, Case], Result], cases: Sequence[tuple[Shared, Case]]
    ) -> Iterator[tuple[Case, Result]]:
        """Do all the work and give each case's result as soon as it is there.

        What is shared is sent to a worker once. Raises SourceUnavailable where no scheduler answers, and BadInput
        where Dask is not installed.
        """
        if self.jobs == 1 and self.dask is None:
            yield from ((case, work(shared, case)) for shared, case in cases)
            return
        different = {id(shared): shared for shared, _ in cases}
        with _cluster(self.dask, list(different.values())) if self.dask else parallel_config("loky"):
            parallel = Parallel(n_jobs=-1 if self.dask else self.jobs, return_as="generator_unordered", batch_size=1)
            yield from parallel(delayed(_alone)(work, shared, case) for shared, case in cases)


ALONE = Workers()


def _alone(work: Callable[[Shared, Case], Result], shared: Shared, case: Case) -> tuple[Case, Result]:
    """Work in one thread: as many workers as cores must not start as many threads each."""
    with parallel_config("sequential"), threadpool_limits(1):
        return case, work(shared, case)


@contextmanager
def _cluster(address: str, shared: list[Any]) -> Iterator[None]:
    try:
        from dask.distributed import Client
    except ImportError:
        raise BadInput("--dask needs the package dask[distributed]: pip install 'vigie[dask]'") from None
    try:
        connect: Callable[..., AbstractContextManager[Any]] = Client
        client = connect(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as silent:
        raise SourceUnavailable(f"no Dask scheduler answers at {address}: {silent}") from None
    with client, parallel_config("dask", client=client, scatter=shared):
        yield
