"""The vendor's sender, against a far side that misbehaves over real sockets, and with a clock turned by hand."""

from __future__ import annotations

import json
import socket

import pytest
from serving import SECRET

from glycanbridge.errors import SignatureError
from glycanbridge.signature import verify
from glycanbridge.simulator.load import NOT_SENT, Load, run_load
from glycanbridge.simulator.posting import Answer as Came
from glycanbridge.simulator.posting import Poster
from glycanbridge.simulator.sender import LONGEST_SLEEP_S, Sender
from glycanbridge.simulator.story import story
from glycanbridge.testing import Answer, Fault, HttpPeer

ACCEPTED = Answer(200, json.dumps({"status": "accepted", "id": "1"}))
DAY_MS = 86_400_000


class Hand:
    """A clock that only moves when somebody waits, and remembers for how long."""

    def __init__(self) -> None:
        self.now_s, self.waits = 0.0, []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now_s += seconds


@pytest.fixture
def hand():
    """The sender's clock."""
    return Hand()


def some(count: int):
    """The first sendings of a story in which nothing is odd."""
    return story(seed=1, begin_ms=1_790_000_000_000, clean=True).sendings[:count]


def sent(url: str, sendings, hand, *, limit_s: float = 10, **more):
    """The fates of sendings, correctly signed."""
    poster = Poster(f"{url}/webhooks/glycanage", limit_s=limit_s)
    sender = Sender(
        sendings,
        post=lambda each: poster.post(each.body, each.signed_with(SECRET)),
        clock=hand.clock,
        sleep=hand.sleep,
        **more,
    )
    return list(sender.run())


def test_an_event_is_posted_as_glycanage_posts_it(hand):
    """The bytes as they are, their signature in the header, and one request where it is answered 200."""
    (sending,) = some(1)
    with HttpPeer(ACCEPTED) as peer:
        (fate,) = sent(peer.url, [sending], hand)
        (request,) = peer.requests

    assert (request.method, request.path, request.body) == ("POST", "/webhooks/glycanage", sending.body)
    assert request.headers["Content-Type"] == "application/json"
    assert verify(request.body, request.headers["X-GlycanAge-Signature"], [SECRET]) == 0
    assert (fate.outcome, fate.fits, len(fate.answers), hand.waits) == ("accepted", True, 1, [])


@pytest.mark.parametrize(
    "trouble",
    [Answer(500), Answer(204), Answer(301), Answer(401), Fault.RESET, Fault.CLOSE_MIDWAY, Fault.GARBAGE],
    ids=str,
)
def test_anything_but_200_is_sent_again_three_times_and_then_forgotten(hand, trouble):
    """The page: "up to 3 times with exponential backoff". Four requests in all, with growing waits between them."""
    with HttpPeer(trouble) as peer:
        (fate,) = sent(peer.url, some(1), hand)

        assert len(peer.requests) == len(fate.answers) == 4
    assert (fate.outcome, fate.fits) == ("lost", False)
    assert hand.waits == [1, 5, 25]


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_an_answer_that_is_not_whole_in_time_is_none(hand, fault):
    """Also one whose bytes come one by one: the limit is for the whole of it."""
    with HttpPeer(fault, ACCEPTED) as peer:
        (fate,) = sent(peer.url, some(1), hand, limit_s=0.3)

    assert [each.status for each in fate.answers] == [None, 200]
    assert fate.answers[0].error == "no whole answer within 0.3 s"
    assert fate.outcome == "accepted"


def test_a_retry_that_gets_through_is_no_loss(hand):
    """And its body is the same to the byte."""
    with HttpPeer(Answer(503), Answer(503), ACCEPTED) as peer:
        (fate,) = sent(peer.url, some(1), hand)

        assert len({each.body for each in peer.requests}) == 1
    assert (fate.outcome, fate.fits, hand.waits) == ("accepted", True, [1, 5])


def test_what_is_sent_in_vain_does_not_hold_back_what_comes_after_it(hand):
    """GlycanAge promises no order: the retry comes when its time has come."""
    first, second = some(2)
    with HttpPeer(Answer(503), ACCEPTED) as peer:
        fates = sent(peer.url, [first, second], hand)

        assert [each.body for each in peer.requests] == [first.body, second.body, first.body]
    assert [each.sending for each in fates] == [second, first]


def test_speed_divides_the_storys_time_and_not_the_waits(hand):
    """At a day a second a week lasts seven; a bridge whose plug was pulled is started again in real seconds."""
    first, second = some(2)
    between_s = (second.at_ms - first.at_ms) / DAY_MS
    with HttpPeer(ACCEPTED, Answer(503), ACCEPTED) as peer:
        sent(peer.url, [first, second], hand, speed=86_400, back_off_s=[10])

    assert hand.waits == [pytest.approx(between_s, abs=1e-4), 10]


def test_no_retries_can_be_wanted(hand):
    """A program that is tested for its first answer needs none."""
    with HttpPeer(Answer(503)) as peer:
        (fate,) = sent(peer.url, some(1), hand, back_off_s=[])

    assert (fate.outcome, len(fate.answers)) == ("lost", 1)


def test_a_forged_event_is_to_be_refused_once(hand):
    """A 401 is what it is for; taken, it would be the worst of all answers, and no retry mends it."""
    forged = next(each for each in story(seed=1, begin_ms=0).sendings if each.twist == "forged")
    with pytest.raises(SignatureError):
        verify(forged.body, forged.signed_with(SECRET), [SECRET])
    with HttpPeer(Answer(401)) as peer:
        (refused,) = sent(peer.url, [forged], hand)
        peer.answer(ACCEPTED)
        (taken,) = sent(peer.url, [forged], hand)

        assert len(peer.requests) == 2
    assert (refused.outcome, refused.fits) == ("refused_401", True)
    assert (taken.outcome, taken.fits) == ("accepted", False)
    assert "forged: expected 401, came: 200 accepted" in taken.trouble


def test_nobody_there_is_told_in_words(hand):
    """And counts as an answer that did not come."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    (fate,) = sent(url, some(1), hand, back_off_s=[])

    assert fate.trouble.endswith("expected accepted, came: Connection refused")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "127.0.0.1:8080", "http:///x", "http://[bad", "http://h:no/"])
def test_an_address_that_is_none_is_refused(url):
    """Before anything is sent."""
    with pytest.raises(ValueError, match="expected http://HOST:PORT/PATH"):
        Poster(url)


def test_a_kept_connection_is_used_again_and_made_anew_when_it_broke():
    """A load measures the bridge, and not how long a connection takes."""
    with HttpPeer(ACCEPTED, ACCEPTED, Fault.RESET, ACCEPTED) as peer:
        poster = Poster(peer.url, keep_alive=True)
        came = [poster.post(b"{}", None) for _ in range(4)]
        poster.close()

        assert [each.status for each in came] == [200, 200, None, 200]
        assert [each.connection for each in peer.requests] == [1, 1, 1, 2]


def test_what_another_program_answers_is_only_a_status():
    """Only a bridge says what became of an event."""
    answers = [Answer(200, text) for text in ("9" * 70_000, "OK", "[]", '{"status": "fine"}', '{"status": 1}')]
    with HttpPeer(*answers) as peer:
        poster = Poster(peer.url, keep_alive=True)
        came = [poster.post(b"{}", None) for _ in answers]
        poster.close()

    assert [each[:2] for each in came] == [Came(200)[:2]] * 5


def test_a_load_counts_errors_by_kind_and_waits_from_when_an_event_was_due():
    """A receiver that answers slowly must not look fast because it is asked less: 20 events due at once take turns."""
    with HttpPeer(Answer(503), ACCEPTED) as peer:
        load = Load(url=peer.url, secret=SECRET, per_s=2000, seconds=0.01, connections=1)
        row = run_load(load, begin_ms=0)

        bodies = {each.body for each in peer.requests}
        assert all(verify(each.body, each.headers["X-GlycanAge-Signature"], [SECRET]) == 0 for each in peer.requests)
    assert (row["sent"], len(bodies), row["errors"]) == (20, 20, {"503": 1})
    assert 0 < row["p50_ms"] <= row["p99_ms"] == row["max_ms"]
    with HttpPeer(Fault.HANG, ACCEPTED) as peer:
        row = run_load(
            Load(url=peer.url, secret=SECRET, per_s=1000, seconds=0.01, connections=1, limit_s=0.3), begin_ms=0
        )
    assert row["errors"] == {"no whole answer within 0.3 s": 1}
    assert row["p50_ms"] > 250


def test_a_load_against_what_never_answers_ends_in_time():
    """What had no connection in time is not sent, counts as an error, and its waiting counts as an answer's."""
    with HttpPeer(Fault.HANG) as peer:
        row = run_load(
            Load(url=peer.url, secret=SECRET, per_s=1000, seconds=0.1, connections=2, limit_s=0.1), begin_ms=0
        )
    assert row["sent"] == len(peer.requests) < 10
    assert row["errors"] == {"no whole answer within 0.1 s": row["sent"], NOT_SENT: 100 - row["sent"]}
    assert row["p50_ms"] > 100
    assert row["reached_per_s"] < 30


def test_a_load_sends_at_least_one_event():
    """One of nothing would be said to have gone well."""
    with HttpPeer(ACCEPTED) as peer:
        row = run_load(Load(url=peer.url, secret=SECRET, per_s=0.1, seconds=1, connections=1), begin_ms=0)
    assert (row["sent"], row["errors"]) == (1, {})


def test_a_wait_of_centuries_is_slept_in_pieces():
    """The system refuses to sleep for so long at once."""
    hand, sent = Hand(), story(seed=1, begin_ms=0).sendings[:2]
    sender = Sender(sent, post=lambda _: Came(200, became="accepted"), speed=1e-4, clock=hand.clock, sleep=hand.sleep)

    assert len(list(sender.run())) == 2
    assert max(hand.waits) == LONGEST_SLEEP_S
