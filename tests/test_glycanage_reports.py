"""Report files over real sockets: fetched once, kept, checked, and credentials that go to one host alone."""

from __future__ import annotations

import base64
import errno
import os
import select
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from glycanbridge.errors import NotYetError, PermanentError
from glycanbridge.glycanage.reports import REMEMBERED_S, NoReports, Reports
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.settings import read_settings
from glycanbridge.testing import Answer, Fault, HandClock, HttpPeer, sample_body, sample_delivery, sample_report

PDF = Answer(200, sample_report(), {"Content-Type": "application/pdf"})


@pytest.fixture
def peer():
    """GlycanAge's side, which has the report."""
    with HttpPeer(PDF) as peer:
        yield peer


class Desk:
    """Report files with a clock to turn by hand."""

    def __init__(self, folder, peer, **settings) -> None:
        self.clock = HandClock()
        self.steady_s = 0.0
        self.slept = []
        self.directory = folder / "reports"
        told = {"timeout_s": 5, **settings}
        reports = {"directory": self.directory, **told.pop("reports", {})}
        told |= {"base_url": peer.url, "email": "lab@clinic.example", "token": "geheim", "reports": reports}
        self.reports = Reports(
            GlycanAgeSettings.model_validate(told),
            clock=self.clock,
            seconds=lambda: self.steady_s,
            sleep=self.slept.append,
        )

    def delivery(self, destination="ehr", *, waited_h=0.0, **data):
        """What is owed to a destination, and has been for so many hours."""
        received_at = self.clock.now - timedelta(hours=waited_h)
        return sample_delivery(sample_body(**data), destination=destination, received_at=received_at)

    def file(self, **told):
        """The file of its report."""
        return self.reports.file_of(self.delivery(**told))


@pytest.fixture
def desk(tmp_path, peer):
    """Report files from the peer."""
    desk = Desk(tmp_path, peer)
    yield desk
    desk.reports.close()


def test_a_report_is_fetched_from_its_path_with_our_credentials(desk, peer):
    """As the vendor's page has it: GET, HTTP Basic with e-mail and token."""
    assert desk.file() == sample_report()

    (request,) = peer.requests
    assert (request.method, request.path) == ("GET", "/reports/report_78901")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"lab@clinic.example:geheim").decode()
    assert request.headers["accept"] == "application/pdf"


def test_it_is_fetched_once_for_all_destinations_and_also_after_a_restart(desk, peer, tmp_path):
    """It is kept on the disk, for the bridge's user alone."""
    assert desk.file(destination="ehr") == desk.file(destination="mail") == sample_report()
    assert Desk(tmp_path, peer).file(destination="late") == sample_report()

    (kept,) = desk.directory.iterdir()
    assert len(peer.requests) == 1
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "report_78901" not in kept.name


def test_an_events_id_alone_is_not_whose_report_it_is(desk, peer, tmp_path):
    """It may be the sender's own, a number: after a rehearsal, with a new journal, it is another patient's."""
    rehearsed = desk.delivery(reportUrl="/reports/1", patientId="patient_1")
    again = replace(desk.delivery(reportUrl="/reports/2", patientId="patient_2"), event_id=rehearsed.event_id)
    corrected = replace(desk.delivery(reportUrl="/reports/2", glycanAge="50"), event_id=rehearsed.event_id)
    for each in (rehearsed, again, corrected):
        desk.reports.file_of(each)
    with HttpPeer(PDF) as elsewhere:
        Desk(tmp_path, elsewhere).reports.file_of(rehearsed)

        assert len(elsewhere.requests) == 1
    assert [each.path for each in peer.requests] == ["/reports/1", "/reports/2", "/reports/2"]


def test_many_at_once_ask_once(desk, peer):
    """Four lanes begin with it in the same moment."""
    together = threading.Barrier(8)

    def ask(number: int) -> bytes:
        together.wait()
        return desk.file(destination=f"d{number}")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {sample_report()}

    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/reports/1", "/\t/evil.example", "\n//evil.example", " //evil.example", "@evil.example/",
        ".evil.example/", "/../admin", "/reports/../../admin", "/reports//1", "https://evil.example/reports/1",
        "/%2e%2e/admin", "/reports/1?to=evil", "/reports/1#", "\\\\evil.example", "/\\evil.example", "/", "", "/.git/x",
        "/réports/1", "/reports/" + "1" * 300,
    ],
)  # fmt: skip
def test_an_address_that_is_not_plainly_glycanages_is_refused_for_good(desk, peer, path):
    """An event's text decides about no host, and nobody is asked."""
    with pytest.raises(PermanentError, match="reportUrl") as refused:
        desk.file(reportUrl=path)

    assert peer.connections == 0
    assert "evil" not in str(refused.value)


def test_the_path_of_the_base_url_is_kept(tmp_path):
    """`https://HOST/v1` and `/reports/1` are `/v1/reports/1`: nothing is joined against the host's root."""
    with HttpPeer(PDF) as peer:
        desk = Desk(tmp_path, peer)
        settings = desk.reports._settings.model_copy(update={"base_url": f"{peer.url}/api/v1"})
        Reports(settings, clock=desk.clock).file_of(desk.delivery())

        assert peer.requests[0].path == "/api/v1/reports/report_78901"


def test_a_redirect_within_the_host_is_followed(desk, peer):
    """It may well be that a report is one."""
    peer.answer(Answer.redirect("/files/1.pdf"), Answer.redirect(f"{peer.url}/files/2.pdf"), PDF)

    assert desk.file() == sample_report()
    assert [each.path for each in peer.requests] == ["/reports/report_78901", "/files/1.pdf", "/files/2.pdf"]


def test_a_redirect_to_another_host_takes_no_credentials_anywhere(desk, peer):
    """Another port is another host, and so is the same name spelt otherwise."""
    with HttpPeer(PDF) as other:
        for to in (
            other.url,
            f"//127.0.0.1:{other.port}/",
            f"http://localhost:{peer.port}/",
            f"http://127.0.0.1:{peer.port}@127.0.0.1:{other.port}/",
            f"https://127.0.0.1:{peer.port}/",
            f"http://127.0.0.1:{other.port}\\@127.0.0.1:{peer.port}/",
            "ftp://127.0.0.1/",
            "",
        ):
            peer.answer(Answer.redirect(to))
            desk.steady_s += REMEMBERED_S
            with pytest.raises(NotYetError, match="leads away from"):
                desk.file()

        assert other.connections == 0


def test_redirects_without_end_are_left(desk, peer):
    """After a few."""
    peer.answer(Answer.redirect("/reports/report_78901"))

    with pytest.raises(NotYetError, match="more than 3 times"):
        desk.file()
    assert len(peer.requests) == 4


CUT = sample_report()[:-40]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(200, "{}", {"Content-Type": "application/json"}), "it is no PDF; 2 bytes came, as application/json"),
        (Answer(200, "<html>", {"Content-Type": "text/html; a"}), "it is no PDF; 6 bytes came, as text/html"),
        (Answer(200, b"", {"Content-Type": "patient_123/x"}), "0 bytes came, as something else"),
        (Answer(200, CUT), "it is cut off"),
        (Answer(200, sample_report() + b"%" * 20_000), "larger than 16,384 bytes"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n%PDF-%%EOF", then=Fault.CLOSE), "broke off"),
        (Answer(401, '{"message": "patient_123"}'), "it does not know this e-mail address with this token"),
        (Answer(403), "may not do that"),
        (Answer(404, '{"message": "patient_123 has no report"}'), "GlycanAge has no such report, or not yet"),
        (Answer(406), "answered 406"),
    ],
)
def test_what_is_no_whole_report_is_waited_for_and_says_why(tmp_path, peer, answer, told):
    """And never with a word of the answer's: it may name a patient."""
    desk = Desk(tmp_path, peer, reports={"max_bytes": 16_384})
    peer.answer(answer)

    with pytest.raises(NotYetError, match=told) as missing:
        desk.file()

    assert "patient_123" not in str(missing.value)
    assert "report_78901" not in str(missing.value)
    assert not list(desk.directory.glob("*"))


@pytest.mark.parametrize("answer", [Answer(503), Answer(500), Fault.RESET, Fault.CLOSE, Fault.RESET_MIDWAY])
def test_a_blip_is_tried_again_at_once(desk, peer, answer):
    """Nobody sees it."""
    peer.answer(answer, PDF)

    assert desk.file() == sample_report()
    assert len(desk.slept) == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_one_who_never_ends_is_left_in_time(tmp_path, peer, fault):
    """The limit is the whole answer's, not one byte's."""
    desk = Desk(tmp_path, peer, timeout_s=0.2)
    peer.answer(fault)

    with pytest.raises(NotYetError, match=r"no whole answer within 0\.2 s"):
        desk.file()


def test_a_failure_is_told_to_all_who_ask_within_a_moment(desk, peer):
    """Four destinations are one question; later it is asked anew."""
    peer.answer(Answer(404))
    for destination in ("a", "b", "c"):
        with pytest.raises(NotYetError):
            desk.file(destination=destination)
    assert len(peer.requests) == 1

    desk.steady_s += REMEMBERED_S
    peer.answer(PDF)
    assert desk.file() == sample_report()


def test_while_glycanage_is_away_nobody_waits_for_it_again_and_again(tmp_path, peer):
    """Each report would cost its whole time otherwise, and so would those of a day behind one another."""
    desk = Desk(tmp_path, peer, timeout_s=0.2)
    peer.answer(Fault.HANG)
    for number in range(3):
        with pytest.raises(NotYetError, match="no whole answer"):
            desk.file(reportId=f"report_{number}")
    assert peer.connections == 2

    desk.steady_s += REMEMBERED_S
    peer.answer(PDF)
    assert desk.file(reportId="report_2") == sample_report()


def test_a_refused_connection_costs_no_time_and_is_tried_for_each(tmp_path, peer):
    """GlycanAge is back a moment later, and a mail that goes at once has its report with it."""
    desk = Desk(tmp_path, peer)
    peer.answer(Fault.RESET)
    with pytest.raises(NotYetError):
        desk.file(reportId="report_1")
    peer.answer(PDF)

    assert desk.file(reportId="report_2") == sample_report()


def test_who_waits_asks_ever_more_rarely_and_then_gives_up(desk, peer):
    """By how long the event has been there; GlycanAge's own word counts if it is longer."""
    peer.answer(Answer(404))
    waits = []
    for waited_h in (0, 1, 71.9):
        with pytest.raises(NotYetError) as missing:
            desk.file(waited_h=waited_h)
        waits.append(missing.value.retry_after_s)
    peer.answer(Answer(429, headers={"Retry-After": "7200"}))
    desk.steady_s += REMEMBERED_S
    with pytest.raises(NotYetError, match="asked too often") as missing:
        desk.file()
    waits.append(missing.value.retry_after_s)
    with pytest.raises(PermanentError, match=r"waited for 72 h \(glycanage\.reports\.give_up_h\)"):
        desk.file(waited_h=72)

    assert waits == [30, 900, 3600, 7200]


def test_what_was_damaged_on_the_disk_is_fetched_anew(desk, peer):
    """A crash of the disk must not become a report."""
    desk.file()
    (kept,) = desk.directory.iterdir()
    kept.write_bytes(sample_report()[:100])

    assert desk.file() == sample_report()
    assert len(peer.requests) == 2


def test_where_nothing_can_be_kept_it_is_fetched_each_time(desk, peer, caplog):
    """A full disk costs the report's destinations nothing."""
    desk.directory.write_text("a file in its place")

    assert desk.file() == desk.file() == sample_report()
    assert "cannot be kept" in caplog.text
    assert len(peer.requests) == 2


def test_what_nobody_asks_for_is_removed_in_time(desk):
    """It is a patient's; who asks for it keeps it."""
    desk.file(reportId="report_1")
    desk.clock.turn(20 * 86_400)
    desk.file(reportId="report_2")
    half_written = desk.directory / f"{'0' * 64}.pdf.12345678"
    half_written.touch()
    os.utime(half_written, (0, 0))

    desk.clock.turn(11 * 86_400)
    desk.reports.tidy()
    assert len([*desk.directory.iterdir()]) == 1
    desk.clock.turn(20 * 86_400)
    desk.reports.tidy()
    assert not [*desk.directory.iterdir()]


def test_other_peoples_files_are_left_alone_and_one_that_stays_holds_back_no_other(desk, caplog):
    """Somebody may give a folder that has PDFs of his own in it."""
    desk.file()
    foreign, stays = desk.directory / "invoice.pdf", desk.directory / f"{'0' * 64}.pdf"
    foreign.touch()
    stays.mkdir()
    for each in desk.directory.iterdir():
        os.utime(each, (0, 0))
    desk.reports.tidy()

    assert {*desk.directory.iterdir()} == {foreign, stays}
    assert "an old report" in caplog.text


def test_what_can_only_be_read_is_still_kept(desk, peer, monkeypatch):
    """A disk that has become read-only has the report all the same."""
    desk.file()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)

    assert desk.file() == sample_report()
    assert len(peer.requests) == 1


def test_many_that_fail_at_once_are_no_fault_of_ours(tmp_path, peer):
    """What is remembered of failures was looked through while another lane put one down."""
    peer.close()  # nobody is there
    desk = Desk(tmp_path, peer)
    desk.reports._seconds = lambda: len(select.select([], [], [], 0)[0])  # lets another lane go on just there

    def ask(number: int) -> bool:
        with pytest.raises(NotYetError, match="Connection refused"):
            desk.file(reportId=f"report_{number}")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_authorities_that_cannot_be_read_are_waited_for_and_named(tmp_path, peer):
    """A bridge receives, whatever is wrong with this."""
    desk = Desk(tmp_path, peer, ca_file=tmp_path / "gone.pem")

    with pytest.raises(NotYetError, match=r"glycanage\.ca_file"):
        desk.file()


@pytest.mark.parametrize("more", [{}, {"reports": {"keep_days": 3}}])
def test_reports_are_kept_in_the_bridges_folder_wherever_it_was_started(serving, monkeypatch, tmp_path, more):
    """As every path in bridge.yaml is; also where the file says nothing of it."""
    account = {"base_url": "https://api.glycanage.example", "email": "a@clinic.example", "token": "t"}
    serving.configure({}, glycanage=account | more)
    monkeypatch.chdir(tmp_path)

    settings, _ = read_settings(serving.config)
    assert settings.glycanage.reports.directory == serving.folder / "var" / "reports"


def test_a_bridge_without_an_account_waits_for_one(desk):
    """A person adds it and starts the bridge anew: nothing has become a dead letter meanwhile."""
    reports = NoReports(clock=desk.clock)
    with pytest.raises(NotYetError, match="there is no `glycanage:`"):
        reports.file_of(desk.delivery(waited_h=71))
    with pytest.raises(PermanentError, match="waited for 72 h"):
        reports.file_of(desk.delivery(waited_h=72))
