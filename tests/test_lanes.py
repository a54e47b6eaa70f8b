"""A lane's batches: as large as a moment allows, and ended by the first failure."""

from __future__ import annotations

import itertools
import threading

import apsw
import pytest
from conftest import Taker, make_destination, make_lane
from serving import SECRET, delivery, sample

from glycanbridge import PermanentError, TemporaryError, hookimpl
from glycanbridge.delivery import Claim, Result, State
from glycanbridge.hosts import BATCH_S
from glycanbridge.hosts.forks import Forks
from glycanbridge.journal import Filter
from glycanbridge.lanes import LARGEST_BATCH, open_lanes
from glycanbridge.signature import sign


@pytest.fixture
def loaded(make_bridge):
    """Makes a bridge with so many deliveries due, and a lane whose every attempt takes so long."""

    def make(taker, count, *, each_s=0.0, **settings):
        destination = make_destination("a", taker, **{"isolation": "process"} | settings)
        bridge = make_bridge(destination)
        for number in range(count):
            body = sample(timestamp=number)
            bridge.accept(body, sign(body, SECRET))
        return bridge, make_lane(destination, seconds=itertools.count(step=each_s).__next__)

    return make


def test_a_fast_destination_is_claimed_for_in_batches(loaded, taker):
    """Twice as many each time, so that few disk syncs are needed; all of them are delivered, in order."""
    bridge, lane = loaded(taker, 200)
    sizes = []
    while bridge.deliver_next(lane):
        sizes.append(len(taker.taken) - sum(sizes))

    assert sizes[:3] == [1, 2, 8]
    assert max(sizes) == LARGEST_BATCH
    times = [event.timestamp for event, _ in taker.taken]
    assert times == sorted(times)
    assert {row.state for row in bridge.journal.deliveries(Filter(limit=1000))} == {State.DELIVERED}


def test_what_a_slow_destination_is_owed_is_left_for_other_lanes(loaded, taker):
    """One at a time, however many there are."""
    bridge, lane = loaded(taker, 5, each_s=BATCH_S)
    for number in range(1, 6):
        bridge.deliver_next(lane)
        assert len(taker.taken) == number
    (attempt,) = bridge.journal.attempts(taker.taken[0][1].id)
    assert attempt.duration_ms == 100


def test_where_a_crash_must_leave_no_doubt_one_is_claimed_at_a_time(loaded, taker):
    """With `on_unknown: hold` a batch would put its neighbours in doubt."""
    bridge, lane = loaded(taker, 5, on_unknown="hold")
    for number in range(1, 6):
        bridge.deliver_next(lane)
        assert len(taker.taken) == number


def test_the_first_failure_ends_the_batch_and_costs_the_others_nothing(loaded):
    """A permanent one does not: somebody answered."""

    class Breaking(Taker):
        def _take(self, event, delivery):
            number = event.timestamp.microsecond // 1000
            self.raises = {20: PermanentError("no such patient"), 30: TemporaryError("away")}.get(number)
            return super()._take(event, delivery)

    breaking = Breaking()
    bridge, lane = loaded(breaking, 100)
    while not any(row.attempts and row.state is State.PENDING for row in bridge.journal.deliveries(Filter(limit=100))):
        bridge.deliver_next(lane)

    rows = bridge.journal.deliveries(Filter(limit=1000))
    assert len(breaking.taken) == 31
    assert [row.state for row in rows if row.attempts].count(State.DELIVERED) == 29
    assert {row.attempts for row in rows if row.state is State.PENDING} == {0, 1}
    assert lane.batch == 1


def test_nothing_new_is_begun_once_the_bridge_stops(loaded):
    """The rest of the batch is put back as it was."""

    class Stopping(Taker):
        def _take(self, event, delivery):
            if len(self.taken) == 5:
                lane.stopping.set()
            return super()._take(event, delivery)

    stopping = Stopping()
    bridge, lane = loaded(stopping, 50)
    while not lane.stopping.is_set():
        bridge.deliver_next(lane)

    assert len(stopping.taken) == 6
    assert {row.attempts for row in bridge.journal.deliveries(Filter(state=State.PENDING, limit=99))} == {0}
    assert bridge.journal.deliveries(Filter(state=State.RUNNING)) == []


def test_one_whose_attempts_are_used_up_reaches_the_plugin_no_more(taker):
    """Its last attempt never came to an end: a plugin that kills the process would do it again at each start."""
    lane = make_lane(make_destination("a", taker, schedule_s=(5,)))

    claims = [
        Claim(delivery=delivery(attempt=step), row=row, step=step, cut_off=cut_off)
        for row, (step, cut_off) in enumerate([(2, True), (3, True), (3, False)])
    ]
    outcomes = {claim.row: made.outcome for claim, made in lane.deliver(claims)}

    assert [outcomes[row].result for row in range(3)] == [Result.DELIVERED, Result.PERMANENT, Result.DELIVERED]
    assert len(taker.taken) == 2
    assert "the last of 2 attempts did not come to an end" in outcomes[1].error


class Closing(Taker):
    """A plugin that counts how often it is made and closed, and waits at its closing until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.made = self.closed = 0
        self.may_close = threading.Event()

    @hookimpl
    def close(self):
        self.may_close.wait(20)
        self.closed += 1


@pytest.fixture
def shared():
    """Two lanes in threads, which share one plugin."""
    plugin = Closing()
    destination = make_destination("a", plugin, lanes=2)
    make = destination._make

    def counted():
        plugin.made += 1
        return make()

    destination._make = counted
    yield plugin, open_lanes(destination, forks=Forks(), stopping=threading.Event())
    plugin.may_close.set()


def test_lanes_in_threads_share_one_plugin_and_the_last_one_closes_it(shared):
    """It may hold a connection or a file that there can be only one of."""
    plugin, lanes = shared
    plugin.may_close.set()

    for lane in lanes:
        lane.deliver([Claim(delivery=delivery(), row=1, step=1)])
    closed = [(lane.close(), plugin.closed)[1] for lane in lanes]

    assert (plugin.made, len(plugin.taken), closed) == (1, 2, [0, 1])


def test_a_plugin_that_does_not_close_is_left_behind(shared, monkeypatch, caplog):
    """The bridge must come to its own end."""
    monkeypatch.setattr("glycanbridge.lanes.CLOSE_S", 0.01)
    plugin, lanes = shared
    lanes[0].deliver([Claim(delivery=delivery(), row=1, step=1)])

    for lane in lanes:
        lane.close()

    assert "the plugin does not close" in caplog.text
    assert plugin.closed == 0


def test_what_was_damaged_on_the_disk_reaches_nobody(loaded, taker, tmp_path):
    """A flipped bit may make it another patient's; SQLite itself would not notice."""
    bridge, lane = loaded(taker, 3)
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    connection.execute(
        "UPDATE events SET body = CAST(replace(body, 'patient_123', 'patient_122') AS BLOB) WHERE id = 2"
    )
    connection.close()
    while bridge.deliver_next(lane):
        pass

    assert len(taker.taken) == 2
    (dead,) = bridge.journal.deliveries(Filter(state=State.DEAD))
    assert "its body is not what was signed" in dead.last_error


def test_a_destination_that_becomes_slow_ends_its_batch(make_bridge, taker):
    """Else an outcome would not be on the disk before sixty more attempts have been made, of seconds each."""
    destination = make_destination("a", taker, isolation="process")
    bridge, now = make_bridge(destination), [0.0]
    for number in range(200):
        body = sample(timestamp=number)
        bridge.accept(body, sign(body, SECRET))

    def seconds() -> float:
        now[0] += 1.0 if len(taker.taken) > 100 else 0.0
        return now[0]

    lane = make_lane(destination, seconds=seconds)
    while len(taker.taken) <= 100:
        bridge.deliver_next(lane)

    assert len(taker.taken) == 101
    bridge.deliver_next(lane)
    assert len(taker.taken) == 102
    assert len(bridge.journal.deliveries(Filter(state=State.DELIVERED, limit=999))) == len(taker.taken)
    assert bridge.journal.deliveries(Filter(state=State.RUNNING)) == []
