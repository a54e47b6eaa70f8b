"""The token that all lanes share: how long it is used, and that no clock, crash or full disk makes it a wrong one."""

import json
import os
import stat
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from glycanbridge_ehr.smart_tokens import SharedToken, Token, used_for_s
from serving import until
from smart_site import Clock, Site, lane, settings_of

from glycanbridge import DestinationError


@pytest.fixture
def clock():
    """A clock to turn by hand."""
    return Clock()


@pytest.fixture
def fetched():
    """How often a token was fetched."""
    return []


@pytest.fixture
def fetch(fetched, clock):
    """Fetches `a1`, `a2`, ...: each used for 270 s."""

    def fetch_it(until):
        fetched.append(until)
        return Token(value=f"a{len(fetched)}", fetched_at=clock(), life_s=270)

    return fetch_it


@pytest.fixture
def open_lane(tmp_path, clock):
    """Opens a lane that shares its token with all others."""
    return lambda: SharedToken(tmp_path / "state", name="x", clock=clock, steady=clock.steady, wait_s=10)


@pytest.fixture
def file(tmp_path):
    """Where the token is kept."""
    return tmp_path / "state" / "token-x.json"


@pytest.mark.parametrize(
    ("expires_in_s", "used_s"),
    [(86_400, 77_760), (3600, 3240), (300, 270), (100, 70), (60, 30), (40, 20), (1, 0.5), (0, 0)],
)
def test_a_token_is_used_for_less_than_it_is_valid(expires_in_s, used_s):
    """A tenth less and at least 30 s, but at least half of it."""
    assert used_for_s(expires_in_s) == used_s


@pytest.mark.parametrize(
    ("told", "used_s"),
    [
        (300, 270),
        ("300", 270),
        (299.5, 269.5),
        (None, 270),
        ("soon", 270),
        ([], 270),
        (10**400, 270),
        (float("nan"), 270),
        (10**9, 77_760),
        (-5, 0),
    ],
)
def test_a_token_is_renewed_before_it_ends_whatever_the_server_says_of_that(tmp_path, clock, told, used_s):
    """Not an instant before, and never used when it may be over."""
    site = Site(clock=clock)
    site.told["expires_in"] = told
    try:
        shared = {"state": tmp_path / "state", "clock": clock, "steady": clock.steady}
        with lane(settings_of(tmp_path), fhir_url=site.fhir_url, **shared) as client:

            def given():
                assert client.get(f"{site.fhir_url}/Patient/1").status_code == 200
                return len(site.given)

            assert given() == 1
            if used_s:
                clock.turn(used_s - 0.25)
                assert given() == 1
            clock.turn(0.25)
            assert given() == 2
    finally:
        site.front.close()


def test_a_lane_that_starts_later_takes_the_token_that_is_there(open_lane, fetch, fetched, clock):
    """For what is left of it."""
    assert open_lane().get(fetch) == "a1"
    clock.turn(200)
    later = open_lane()
    assert later.get(fetch) == "a1"
    clock.turn(69)
    assert later.get(fetch) == "a1"
    clock.turn(1)

    assert later.get(fetch) == "a2"
    assert len(fetched) == 2


def test_a_clock_that_is_set_never_makes_a_token_live_longer(open_lane, fetch, fetched, clock):
    """Within a process the steady clock counts; between them, a token from the future is none."""
    first = open_lane()
    first.get(fetch)
    clock.set_by(-3600)
    clock.passed += 269
    assert first.get(fetch) == "a1"
    clock.passed += 1
    assert first.get(fetch) == "a2"

    clock.set_by(-1)
    assert open_lane().get(fetch) == "a3"
    clock.set_by(+3600)
    assert open_lane().get(fetch) == "a4"
    assert len(fetched) == 4


def test_a_token_of_more_than_a_day_is_not_believed(open_lane, fetch, file, clock):
    """Whoever wrote it."""
    open_lane().get(fetch)
    file.write_text(json.dumps({"value": "b", "fetched_at": clock(), "life_s": 10**9}))
    lane = open_lane()
    assert lane.get(fetch) == "b"
    clock.turn(86_400)

    assert lane.get(fetch) == "a2"


@pytest.mark.parametrize(
    "left",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"value": "b"}',
        '{"value": 7, "fetched_at": 1790000000, "life_s": 270}',
        '{"value": "b\\r\\nc", "fetched_at": 1790000000, "life_s": 270}',
        '{"value": "b", "fetched_at": null, "life_s": 270}',
        '{"value": "b", "fetched_at": 1790000000, "life_s": NaN}',
        '{"value": "b", "fetched_at": -Infinity, "life_s": 270}',
        '{"value": "b", "fetched_at": 1790000000, "life_s": 1' + "0" * 400 + "}",
    ],
)
def test_a_file_that_is_none_of_ours_is_as_if_there_were_none(open_lane, fetch, file, left):
    """A token is fetched, and kept in its place."""
    file.parent.mkdir()
    file.write_text(left)

    assert open_lane().get(fetch) == "a1"
    assert json.loads(file.read_text())["value"] == "a1"


def test_nobody_else_can_read_the_token(open_lane, fetch, file):
    """Whoever has it may write results into the EHR."""
    before = os.umask(0)
    try:
        file.parent.mkdir(0o700)
        crashed = file.with_suffix(".new")
        crashed.write_text("half")
        crashed.chmod(0o666)
        open_lane().get(fetch)
    finally:
        os.umask(before)

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir()}
    assert modes == {"token-x.json": 0o600, "token-x.lock": 0o600}


def test_the_directory_is_made_for_the_bridge_alone(open_lane, fetch, file):
    """Where it is missing."""
    open_lane().get(fetch)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_token_that_cannot_be_kept_is_used_all_the_same(open_lane, fetch, fetched, file):
    """A full disk stops no result; other lanes fetch their own."""
    file.with_suffix(".new").mkdir(parents=True)
    lane = open_lane()

    assert [lane.get(fetch), lane.get(fetch), open_lane().get(fetch)] == ["a1", "a1", "a2"]
    assert len(fetched) == 2


def test_threads_share_a_token_that_cannot_be_kept(open_lane, fetch, fetched, file):
    """Within a process memory is enough: one fetch, also on a full disk."""
    file.with_suffix(".new").mkdir(parents=True)
    lane = open_lane()

    def waiting():
        stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]
        return sum(any(Path(each.filename).name == "smart_tokens.py" for each in stack) for stack in stacks)

    def fetch_once_all_wait(until_s):
        until(lambda: waiting() == 8)
        return fetch(until_s)

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(lane.get, fetch_once_all_wait) for _ in range(8)]
        assert [each.result() for each in asked] == ["a1"] * 8
    assert len(fetched) == 1


def test_a_directory_that_cannot_be_used_stops_the_destination(open_lane, fetch, file):
    """With its place."""
    file.parent.write_text("a file stands there")
    with pytest.raises(DestinationError, match=f"^{file.parent}: File exists; it must be a directory of the bridge's"):
        open_lane().get(fetch)


def test_a_refused_token_is_replaced_only_by_whom_it_was_refused_to_first(open_lane, fetch, fetched):
    """The second finds the new one."""
    one, two = open_lane(), open_lane()
    assert one.get(fetch) == two.get(fetch) == "a1"

    assert one.get(fetch, refused="a1") == "a2"
    assert two.get(fetch, refused="a1") == "a2"
    assert two.get(fetch, refused="a1") == "a2"  # late, by another thread
    assert one.get(fetch, refused="a2") == "a3"
    assert len(fetched) == 3


def test_different_clients_have_different_tokens(tmp_path, clock):
    """Another server, client or scope: another token, in the same directory."""
    site = Site(clock=clock)
    try:
        site.client_ids.add("another")
        shared = {"state": tmp_path / "state", "clock": clock, "steady": clock.steady}
        for fhir_url, more in (
            (site.fhir_url, {}),
            (site.fhir_url, {"scope": "system/Patient.rs"}),
            (site.fhir_url, {"token_url": site.token_url}),
            (site.fhir_url + "/a", {"token_url": site.token_url}),
            (site.fhir_url, {"client_id": "another"}),
        ):
            with lane(settings_of(tmp_path, **more), fhir_url=fhir_url, **shared) as client:
                assert client.get(f"{fhir_url}/Patient/1").status_code == 200
        assert len(site.given) == 5
        assert len(list((tmp_path / "state").glob("token-*.json"))) == 5
    finally:
        site.front.close()
