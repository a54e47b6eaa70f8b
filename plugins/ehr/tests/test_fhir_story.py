"""The real bridge between GlycanAge and a real FHIR server: from a request to the chart, also through crashes."""

import json
import threading

import pytest
from ehr_plugin import GLYCANAGE, PATIENT, PRACTICE
from fhir_front import answers, held
from serving import Serving, sample, served, until

TYPES = ("DiagnosticReport", "Observation")


@pytest.fixture
def bridge(tmp_path):
    """A bridge's folder; `settings` makes its one destination."""
    return Serving(tmp_path)


def settings(peer, *, lanes=1, retry=None, timeout_s=30, **fhir):
    """The destination `ehr`, which tries again at once."""
    whole = {"url": peer.url, "patient": "search", "patient_system": GLYCANAGE} | fhir
    return {
        "ehr": {
            "plugin": "ehr",
            "lanes": lanes,
            "timeout_s": timeout_s,
            "retry": {"tries": 1, "schedule_s": [0.1] * 20 if retry is None else retry},
            "circuit": {"failures": 0},
            "settings": {"practices": [PRACTICE], "fhir": whole, "lock_timeout_s": 15},
        }
    }


def states(bridge):
    """How its deliveries are."""
    return [each["state"] for each in bridge.rows("deliveries", "list")]


def test_the_bridge_is_killed_between_the_send_and_its_record(bridge, sekmet):
    """The EHR has it, and nobody here knows: it is sent again under the same keys, and is there once."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet))
    bridge.start()

    def kill(request, ask):
        answer = ask(request)
        assert answer.status in {200, 201}
        bridge.stop(kill=True)

    sekmet.front.will(kill, method="POST")
    assert bridge.post(sample()).status == 200
    until(lambda: bridge.process.poll() is not None)
    assert sekmet.every("Observation")

    with served(bridge):
        until(lambda: states(bridge) == ["delivered"])
    assert sekmet.count(*TYPES) == (1, 2)
    first, again = sekmet.front.asked("POST")
    assert first.body == again.body


def test_an_event_that_comes_twice_and_is_replayed_by_hand_is_one_result(bridge, sekmet):
    """GlycanAge repeats, and so do people."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet))
    with served(bridge):
        for _ in range(2):
            assert bridge.post(sample()).status == 200
        until(lambda: states(bridge) == ["delivered"])
        assert bridge.run("events", "replay", "--all", "--yes").returncode == 0
        until(lambda: states(bridge) == ["delivered"])
    assert sekmet.count(*TYPES) == (1, 2)
    assert len(sekmet.front.asked("POST")) == 1


def test_a_slow_ehr_never_delays_the_webhooks_answer(bridge, sekmet):
    """GlycanAge waits ten seconds, and then forgets; the EHR may take longer."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet))
    answering = threading.Event()
    sekmet.front.will(held(answering), times=None)
    try:
        with served(bridge):
            assert bridge.post(sample()).status == 200
            until(lambda: sekmet.front.received)
            for number in range(5):
                assert bridge.post(sample(data={"reportId": f"report_{number}"})).status == 200
            assert "delivered" not in states(bridge)
            answering.set()
            until(lambda: sekmet.count(*TYPES) == (6, 12))
            until(lambda: states(bridge) == ["delivered"] * 6)
    finally:
        answering.set()
    assert sekmet.count(*TYPES) == (6, 12)


def test_eight_lanes_that_have_one_report_at_once_make_one_result(bridge, sekmet):
    """Eight processes: conditional creates alone would make several."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet, lanes=8))
    with served(bridge):
        for number in range(8):
            assert bridge.post(sample(timestamp=1693123200000 + number)).status == 200
        until(lambda: sekmet.count(*TYPES) == (1, 2))
        until(lambda: states(bridge) == ["delivered"] * 8)
    assert sekmet.count(*TYPES) == (1, 2)
    assert len(sekmet.front.asked("POST")) == 1


def test_too_many_requests_wait_as_long_as_asked_and_lose_nothing(bridge, sekmet):
    """The destination goes on by itself; no delivery has lost an attempt, for it had only one."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet, retry=[]))
    sekmet.front.will(answers(429, retry_after="1"), times=2, method="POST")
    with served(bridge):
        for number in range(3):
            assert bridge.post(sample(data={"reportId": f"report_{number}"})).status == 200
        until(lambda: sekmet.count(*TYPES) == (3, 6))
        until(lambda: states(bridge) == ["delivered"] * 3)
    assert sekmet.count(*TYPES) == (3, 6)


def test_a_dead_letter_says_why_in_a_line_and_a_replay_has_the_same_keys(bridge, sekmet):
    """Whoever mends the EHR sends it again by hand. No word of the patient's stands in the reason or the log."""
    sekmet.patient(GLYCANAGE, PATIENT)
    bridge.configure(settings(sekmet))
    issue = {
        "severity": "error",
        "code": "invariant",
        "expression": ["Observation.code"],
        "diagnostics": f"{PATIENT} Zoë",
    }
    sekmet.front.will(answers(422, {"resourceType": "OperationOutcome", "issue": [issue]}), method="POST")
    with served(bridge):
        assert bridge.post(sample()).status == 200
        until(lambda: states(bridge) == ["dead"])
        (letter,) = (bridge.folder / "var" / "dead-letters").glob("**/*.json")
        reason = json.loads(letter.read_text())["reason"]
        assert reason == "writing the result: HTTP 422 (invariant at Observation.code); the EHR refuses it as it is"
        assert bridge.run("deliveries", "replay", "--all", "--yes").returncode == 0
        until(lambda: states(bridge) == ["delivered"])
    first, again = sekmet.front.asked("POST")
    assert first.body == again.body
    assert sekmet.count(*TYPES) == (1, 2)
    log = bridge.log.read_text()
    assert [needle for needle in (PATIENT, "Zoë", "45.2", "KIT001234", "?identifier") if needle in log] == []


def test_a_patient_who_comes_later_is_waited_for_without_losing_an_attempt(bridge, sekmet):
    """An hour each time; a replay by hand need not wait for it."""
    bridge.configure(settings(sekmet, retry=[]))
    with served(bridge):
        assert bridge.post(sample()).status == 200
        until(lambda: "the result waits" in bridge.log.read_text())
        assert states(bridge) == ["pending"]
        sekmet.patient(GLYCANAGE, PATIENT)
        assert bridge.run("deliveries", "replay", "--state", "pending", "--yes").returncode == 0
        until(lambda: states(bridge) == ["delivered"])
    assert sekmet.count(*TYPES) == (1, 2)


def test_the_bridges_own_check_asks_the_ehr_and_writes_nothing(bridge, sekmet):
    """`glycanbridge check --online`, before the first patient."""
    sekmet.patient("urn:others", "x")
    bridge.configure(settings(sekmet))
    done = bridge.run("check", "--online")
    assert done.returncode == 0, done.stderr
    assert "results by mode transaction, patients by search" in done.stdout
    assert "reports with ages, kit codes and all ids go to 127.0.0.1" in done.stdout
    assert {each.method for each in sekmet.front.received} == {"GET"}
