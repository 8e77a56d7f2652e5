"""Work for several items: in forked children at once, and again in this process where a child fails."""

import os
import signal

import pytest

from service.jobs import forked_work


def test_each_item_has_its_result_and_a_process_of_its_own() -> None:
    results = forked_work.for_each(lambda item: (item, os.getpid()), ["a", "b", "c"])
    assert [item for item, _ in results] == ["a", "b", "c"]
    processes = [process for _, process in results]
    assert processes[0] == os.getpid()
    assert len(set(processes)) == (3 if len(os.sched_getaffinity(0)) > 1 else 1)


def test_the_work_of_a_child_that_was_killed_is_done_again() -> None:
    parent = os.getpid()

    def work(item: str) -> str:
        if item == "b" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return item.upper()

    assert forked_work.for_each(work, ["a", "b"]) == ["A", "B"]


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_an_error_is_raised_in_this_process(wrong: str) -> None:
    def work(item: str) -> str:
        if item == wrong:
            raise ValueError(f"{item} is wrong")
        return item

    with pytest.raises(ValueError, match=f"{wrong} is wrong"):
        forked_work.for_each(work, ["a", "b"])
