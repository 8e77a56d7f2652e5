"""Share cases of work out: one after the other in this process, over several processes, or over a Dask cluster.

Every way gives the same results. This module knows nothing of the work.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.model_code import LoadedCode
from riskmodel.parent_process import end_with

Case = TypeVar("Case")
Shared = TypeVar("Shared")
Result = TypeVar("Result")

DASK_TIMEOUT = "20s"
"""How long to wait for a Dask scheduler."""


@dataclass(frozen=True)
class Workers:
    """Where work is done.

    With `jobs` = 1, in this process with all its threads; with more, in that many processes of one thread each. With
    `dask`, the address of a scheduler, on the workers of a cluster.
    """

    jobs: int = 1
    dask: str | None = None

    def map_unordered(
        self, work: Callable[[Shared, Case], Result], cases: Sequence[tuple[Shared, Case]]
    ) -> Iterator[tuple[Case, Result]]:
        """Yield each case with the result of `work(shared, case)`, as soon as it is there.

        Each shared object is sent to a worker once. Raises SourceUnavailable where the Dask scheduler does not answer,
        and BadInput where Dask is not installed.
        """
        if self.jobs == 1 and self.dask is None:
            yield from ((case, work(shared, case)) for shared, case in cases)
            return
        distinct = {id(shared): shared for shared, _ in cases}
        with _dask_backend(self.dask, list(distinct.values())) if self.dask else _local_backend():
            code = LoadedCode()  # the first argument: a worker needs a model's code before it gets the model
            parallel = Parallel(n_jobs=-1 if self.dask else self.jobs, return_as="generator_unordered", batch_size=1)
            yield from parallel(delayed(_in_one_thread)(code, work, shared, case) for shared, case in cases)


THIS_PROCESS = Workers()


def _in_one_thread(
    _: LoadedCode, work: Callable[[Shared, Case], Result], shared: Shared, case: Case
) -> tuple[Case, Result]:
    """Do one case in one thread: there are as many workers as cores, and more threads would only compete."""
    with parallel_config("sequential"), threadpool_limits(1):
        return case, work(shared, case)


def _local_backend() -> AbstractContextManager[Any]:
    """Return the backend of processes on this machine. They end with this one, also if it is killed."""
    backend: AbstractContextManager[Any] = parallel_config("loky", initializer=end_with, initargs=(os.getpid(),))
    return backend


@contextmanager
def _dask_backend(address: str, shared: list[Any]) -> Iterator[None]:
    try:
        from dask.distributed import Client
    except ImportError:
        raise BadInput("--dask needs the package dask[distributed]: pip install 'vigie[dask]'") from None
    try:
        connect: Callable[..., AbstractContextManager[Any]] = Client
        client = connect(address, timeout=DASK_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"no Dask scheduler answers at {address}: {error}") from None
    with client, parallel_config("dask", client=client, scatter=shared):
        yield
