"""What runs too long is interrupted, and only that."""

import threading
import time

import pytest

from clarify.graph_schema.stores.watch import LOOK_S, Watch


class Connection:
    def __init__(self):
        self.interrupted = threading.Event()

    def interrupt(self):
        self.interrupted.set()


@pytest.fixture
def watch():
    made = Watch()
    yield made
    made.close()


def test_what_is_past_its_time_is_interrupted_and_its_neighbour_is_not(watch):
    slow, quick = Connection(), Connection()
    with watch.limit(quick, 60), watch.limit(slow, 0.01):
        assert slow.interrupted.wait(20 * LOOK_S)
    assert not quick.interrupted.is_set()


def test_nothing_is_interrupted_after_it_ended(watch):
    connection = Connection()
    for _ in range(50):
        with watch.limit(connection, LOOK_S):
            pass
    time.sleep(4 * LOOK_S)
    assert not connection.interrupted.is_set()


def test_an_error_inside_ends_the_watch_too(watch):
    connection = Connection()
    with pytest.raises(ZeroDivisionError), watch.limit(connection, LOOK_S):
        raise ZeroDivisionError
    time.sleep(4 * LOOK_S)
    assert not connection.interrupted.is_set()


def test_one_thread_watches_all_and_ends_with_the_store():
    def threads():
        return {t for t in threading.enumerate() if t.name == "kg-watch"}

    before, made = threads(), Watch()  # other stores' threads may end meanwhile
    for _ in range(10):
        with made.limit(Connection(), 60):
            pass
    (mine,) = threads() - before
    assert mine.is_alive()
    made.close()
    mine.join(20 * LOOK_S)
    assert not mine.is_alive()
