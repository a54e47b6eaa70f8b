"""The contract suite: a good plugin passes all of it, and one that is wrong in one way fails just there."""

from __future__ import annotations

import base64
import http.client
import logging
import smtplib
import sys
import threading
import urllib.request
import uuid
import warnings
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel, ConfigDict, Secret, SecretStr, model_validator

from glycanbridge import (
    DestinationError,
    LocalPath,
    NotYetError,
    PermanentError,
    TemporaryError,
    Timeout,
    hookimpl,
)
from glycanbridge.testing import HttpPeer, SmtpPeer, contract_suite

TOKEN = "correct-horse-4711-battery"


pytest_plugins = ["pytester"]


class PosterSettings(BaseModel):
    """All described, and nothing else allowed."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    url: str
    """Where events are posted."""
    token: SecretStr
    """Shows who posts."""
    timeout_s: Timeout = 5
    """Seconds to wait for an answer."""


class Poster:
    """Posts each event as JSON: what a good plugin is like."""

    Settings = PosterSettings

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def on_kit_received(self, event, delivery):
        return self.post(event, delivery)

    @hookimpl
    def on_report_ready(self, event, delivery):
        return self.post(event, delivery)

    @hookimpl
    def check(self):
        return f"it answered {self.ask('GET', b'', {}).status}"

    @hookimpl
    def tells(self):
        return "whole events are posted to the far side"

    @hookimpl
    def close(self):
        """There is nothing to let go of."""

    def post(self, event, delivery):
        try:
            answer = self.ask("POST", delivery.body, self.headers(delivery))
        except TimeoutError:
            raise TemporaryError("no answer in time", unknown=True) from None
        except (OSError, http.client.HTTPException) as error:
            raise TemporaryError(f"no answer: {type(error).__name__}") from None
        self.judge(answer.status, answer.headers.get("Retry-After"), answer.content)
        return "posted"

    def headers(self, delivery):
        return {"Idempotency-Key": delivery.id}

    def judge(self, status, retry_after, content):
        if status in (401, 403):
            raise DestinationError(f"it answered {status}: see to the token")
        if status == 429:
            raise DestinationError("too many requests", retry_after_s=retry_after)
        if status >= 500:
            raise TemporaryError(f"it answered {status}", retry_after_s=0)
        if status >= 300:
            raise PermanentError(f"it answered {status}")

    def ask(self, method, body, headers):
        parts = urlsplit(self.settings.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.settings.timeout_s)
        try:
            token = self.settings.token.get_secret_value()
            connection.request(method, "/events", body or None, {"Authorization": f"Bearer {token}", **headers})
            answer = connection.getresponse()
            answer.content = answer.read()
            return answer
        finally:
            connection.close()


def settings(peer):
    """What `bridge.yaml` would say, with a short timeout."""
    return {"url": peer.url, "token": TOKEN, "timeout_s": 1}


def failed(suite, tmp_path, capfd, *, leave_out=()):
    """The tests of a suite that fail, without `test_`, and what they say."""
    told = {}
    for name in [
        each for each in vars(suite) if each.startswith("test_") and each.removeprefix("test_") not in leave_out
    ]:
        folder = tmp_path / name
        folder.mkdir()
        try:
            getattr(suite(), name)(folder, capfd)
        except Exception as error:
            told[name.removeprefix("test_")] = str(error)
    return told


STATUSES = [400, 401, 403, 422, 429, 500, 502, 503, 504]
TROUBLES = [
    *(f"it_answers_{status}" for status in STATUSES),
    "it_resets_the_connection",
    "it_resets_the_connection_in_the_middle_of_its_answer",
    "it_closes_the_connection_without_an_answer",
    "it_answers_garbage",
    "it_hangs",
]
LEAKS = {f"nothing_leaks_when_{each}" for each in TROUBLES}
ANSWERED = {f"nothing_leaks_when_it_answers_{status}" for status in STATUSES}
MEANT = {
    "an_answer_of_400_is_a_PermanentError",
    "an_answer_of_401_is_a_DestinationError",
    "an_answer_of_403_is_a_DestinationError",
    "an_answer_of_422_is_a_PermanentError",
    "an_answer_of_429_is_a_DestinationError_or_TemporaryError",
    "an_answer_of_500_is_a_TemporaryError",
    "an_answer_of_502_is_a_TemporaryError",
    "an_answer_of_503_is_a_TemporaryError_or_DestinationError",
    "an_answer_of_504_is_a_TemporaryError",
}
BREAKS = {
    f"it_is_no_reason_to_give_up_when_{each}"
    for each in TROUBLES
    if each.startswith(("it_resets", "it_closes", "it_hangs"))
}
REDIRECTED = {f"a_redirect_of_{status}_is_not_followed" for status in (302, 307, 308)}
PLAIN = {
    "the_bridge_can_use_it",
    "its_settings_have_a_json_schema",
    "every_setting_is_described",
    "an_unknown_setting_is_refused",
    "the_same_delivery_twice_does_not_fail",
    "no_secret_can_be_read_in_the_settings_and_the_plugin",
    "nothing_leaks_while_a_delivery_succeeds",
    "it_can_be_called_by_several_threads_at_once",
}
SECRET = {"no_secret_can_be_read_in_the_settings_and_the_plugin"}
HOOKS = {"check_sends_nothing", "tells_is_one_line_without_secrets", "closing_twice_is_harmless"}
WITH_PEER = {
    "check_says_so_when_nobody_is_there",
    "the_far_side_can_know_a_repeat",
    "a_far_side_that_is_not_there_is_no_reason_to_give_up",
}


def test_a_good_plugin_passes_all_of_it(tmp_path, capfd):
    """And all of it is there."""
    suite = contract_suite(Poster, settings, peer=HttpPeer)

    names = {each.removeprefix("test_") for each in vars(suite) if each.startswith("test_")}
    assert names == PLAIN | HOOKS | WITH_PEER | LEAKS | MEANT | BREAKS | REDIRECTED
    assert failed(suite, tmp_path, capfd) == {}


# What follows is wrong in one way each.


class ForgetsAndRefuses(Poster):
    """Takes a repeat for a mistake."""

    def post(self, event, delivery):
        if delivery.attempt > 1:
            raise PermanentError("seen before")
        return super().post(event, delivery)


class NewKeyEachTime(Poster):
    """Its idempotency key says nothing."""

    def headers(self, delivery):
        return {"Idempotency-Key": str(uuid.uuid4())}


class OneKeyForAll(Poster):
    """Its idempotency key says the same of all."""

    def headers(self, delivery):
        return {"Idempotency-Key": "glycanbridge"}


class NothingToKnowItBy(Poster):
    """Another content each time, and no key."""

    def headers(self, delivery):
        return {}

    def ask(self, method, body, headers):
        return super().ask(method, body and uuid.uuid4().bytes, headers)


class PlainToken(Poster):
    """Keeps its secret where every `repr` shows it."""

    class Settings(PosterSettings):
        """As wrong as the plugin."""

        def __repr__(self):
            return f"PosterSettings(token={self.token.get_secret_value()!r})"


class ShowsItself(Poster):
    """Tells all that it has."""

    def __repr__(self):
        return f"Poster with {self.settings.token.get_secret_value()}"


class LogsItsToken(Poster):
    """At a level that nobody looks at."""

    def post(self, event, delivery):
        logging.getLogger("poster.wire").debug("Authorization: %s", self.settings.token.get_secret_value())
        return super().post(event, delivery)


class LogsTheEvent(Poster):
    """To a logger that hands nothing on."""

    def post(self, event, delivery):
        log = logging.getLogger("poster.own")
        log.propagate = False
        log.warning("sending", extra={"event": event.data.patient_id})
        return super().post(event, delivery)


class Prints(Poster):
    """What it has just been given."""

    def post(self, event, delivery):
        sys.stdout.write(event.data.kit_code)
        return super().post(event, delivery)


class QuotesTheAnswer(Poster):
    """In its error, and so in journal, log and dead letter."""

    def judge(self, status, retry_after, content):
        try:
            super().judge(status, retry_after, content)
        except (TemporaryError, PermanentError, DestinationError) as error:
            error.args = (f"{error}: {content.decode('latin-1')}",)
            raise


class PatientInTheReceipt(Poster):
    """Which stands in the journal and in lists."""

    def post(self, event, delivery):
        super().post(event, delivery)
        return f"posted {event.data.kit_code}"


class NeverGivesUp(Poster):
    """Whatever the far side says."""

    def judge(self, status, retry_after, content):
        if status >= 300:
            raise TemporaryError(f"it answered {status}", retry_after_s=retry_after)


class GivesUpAtOnce(Poster):
    """Whatever the far side says."""

    def judge(self, status, retry_after, content):
        if status >= 300:
            raise PermanentError(f"it answered {status}")


class DoesNotWait(Poster):
    """Asks again in a minute, whatever the far side asked for."""

    def judge(self, status, retry_after, content):
        super().judge(status, "60" if status == 429 else retry_after, content)


class TakesAnyAnswer(Poster):
    """For a yes."""

    def judge(self, status, retry_after, content):
        """All is well."""


class GivesUpWhatBroke(Poster):
    """Takes a broken connection for a refusal."""

    def post(self, event, delivery):
        try:
            return super().post(event, delivery)
        except TemporaryError as error:
            if "no answer" in str(error):
                raise PermanentError("no answer") from None
            raise


class WaitsForEver(Poster):
    """Has a timeout, and does not use it."""

    def ask(self, method, body, headers):
        self.settings.timeout_s = None
        return super().ask(method, body, headers)


class OneAtATime(Poster):
    """Keeps what it has in hands where the next thread finds it."""

    met = threading.Barrier(2)

    def post(self, event, delivery):
        self.delivery = delivery
        try:
            self.met.wait(0.05)
        except threading.BrokenBarrierError:
            self.met.reset()
        return super().post(event, self.delivery)


class TellsItsTokenAtStart(Poster):
    """To whoever has misspelt another setting."""

    class Settings(PosterSettings):
        """As wrong as the plugin."""

        @model_validator(mode="before")
        @classmethod
        def _are_known(cls, told):
            if set(told) - set(cls.model_fields):
                raise ValueError(f"{', '.join(told)}: unknown key in {told}")
            return told


class Speechless(Poster):
    """Says of no setting what it is."""

    class Settings(BaseModel, extra="forbid"):
        """As wrong as the plugin."""

        url: str
        token: SecretStr
        timeout_s: Timeout = 5


class Unknowable(Poster):
    """Has a setting that nobody can describe."""

    class Settings(PosterSettings):
        """As wrong as the plugin."""

        model_config = ConfigDict(arbitrary_types_allowed=True)
        helper: threading.Event | None = None
        """What a class of one's own is like."""


class TakesAnyKey(Poster):
    """A misspelt key has no effect."""

    class Settings(PosterSettings):
        """As wrong as the plugin."""

        model_config = ConfigDict(extra="ignore")


class Inner(BaseModel):
    """A part of settings that takes any key."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    word: str = ""
    """What it says."""


class TakesAnyInnerKey(Poster):
    """A misspelt key has no effect."""

    class Settings(PosterSettings):
        """As wrong as the plugin."""

        inner: Inner = Inner()
        """A part."""


class ChecksBySending(Poster):
    """Each check is one more event over there."""

    @hookimpl
    def check(self):
        self.ask("POST", b"{}", {})
        return "well"


class AlwaysWell(Poster):
    """Whatever happens."""

    @hookimpl
    def check(self):
        return "well"


class ChecksInWords(Poster):
    """More of them than a line holds."""

    @hookimpl
    def check(self):
        return super().check() + "\nand that is all"


class TellsItsToken(Poster):
    """To everybody."""

    @hookimpl
    def tells(self):
        return f"events, with {self.settings.token.get_secret_value()}"


class TellsMuch(Poster):
    """More than a line."""

    @hookimpl
    def tells(self):
        return "events\nand more"


class AsksBeforeItTells(Poster):
    """Talks to the far side, though nobody asked it to."""

    @hookimpl
    def tells(self):
        return f"events; it answers {self.ask('GET', b'', {}).status}"


class ClosesOnce(Poster):
    """The second time it fails."""

    @hookimpl
    def close(self):
        del self.settings


class LogsItsBasicHeader(Poster):
    """With the token as the password, so that its base64 begins anywhere."""

    def post(self, event, delivery):
        for user in ("", "a", "ab"):
            proof = base64.b64encode(f"{user}:{self.settings.token.get_secret_value()}!".encode()).decode()
            logging.getLogger("poster.wire").debug("Authorization: Basic %s", proof)
        return super().post(event, delivery)


class WarnsOfItsToken(Poster):
    """By `warnings`, which a bridge prints to stderr."""

    def post(self, event, delivery):
        warnings.warn(f"not encrypted: {self.settings.token.get_secret_value()}", stacklevel=1)
        return super().post(event, delivery)


class LogsAnotherKindOfSecret(Poster):
    """Pydantic has another kind, for whatever is no text."""

    class Settings(PosterSettings):
        """With that kind."""

        token: Secret[str]
        """Shows who posts."""

    def post(self, event, delivery):
        logging.getLogger("poster.wire").info("as %s", self.settings.token.get_secret_value())
        return super().post(event, delivery)


class FollowsRedirects(Poster):
    """As urllib and requests do by default: token and event go wherever an answer says."""

    def ask(self, method, body, headers):
        answer = super().ask(method, body, headers)
        if answer.status in (302, 307, 308):
            proof = {"Authorization": f"Bearer {self.settings.token.get_secret_value()}"}
            urllib.request.urlopen(urllib.request.Request(answer.headers["Location"], body, proof)).close()
        return answer


class TakesRedirects(Poster):
    """For a yes."""

    def judge(self, status, retry_after, content):
        super().judge(200 if 300 <= status < 400 else status, retry_after, content)


class Misspelt(Poster):
    """A hook that there is not."""

    @hookimpl
    def on_report_redy(self, event):
        """Never called."""


class GivesUpWhenAlone(Poster):
    """Takes a far side that is away for one that refuses."""

    def ask(self, method, body, headers):
        try:
            return super().ask(method, body, headers)
        except ConnectionRefusedError:
            raise PermanentError("nobody is there") from None


TWICE = "the_same_delivery_twice_does_not_fail"
KNOWN = "the_far_side_can_know_a_repeat"
AT_ONCE = "it_can_be_called_by_several_threads_at_once"
EVERY_LEAK = LEAKS | {"nothing_leaks_while_a_delivery_succeeds"}
FAULTY = [
    (ForgetsAndRefuses, {TWICE, KNOWN}),
    (NewKeyEachTime, {KNOWN, AT_ONCE}),
    (OneKeyForAll, {KNOWN}),
    (NothingToKnowItBy, {KNOWN, AT_ONCE}),
    (PlainToken, {"no_secret_can_be_read_in_the_settings_and_the_plugin"}),
    (ShowsItself, {"no_secret_can_be_read_in_the_settings_and_the_plugin"}),
    (LogsItsToken, EVERY_LEAK),
    (LogsTheEvent, EVERY_LEAK),
    (Prints, EVERY_LEAK),
    (QuotesTheAnswer, ANSWERED),
    (PatientInTheReceipt, {"nothing_leaks_while_a_delivery_succeeds"}),
    (NeverGivesUp, {each for each in MEANT if each.endswith(("is_a_PermanentError", "is_a_DestinationError"))}),
    (GivesUpAtOnce, {each for each in MEANT if not each.endswith("is_a_PermanentError")}),
    (DoesNotWait, {"an_answer_of_429_is_a_DestinationError_or_TemporaryError"}),
    (TakesAnyAnswer, MEANT | ANSWERED | REDIRECTED),
    (FollowsRedirects, REDIRECTED),
    (TakesRedirects, REDIRECTED),
    (LogsItsBasicHeader, EVERY_LEAK),
    (LogsAnotherKindOfSecret, EVERY_LEAK),
    (GivesUpWhatBroke, BREAKS | {"a_far_side_that_is_not_there_is_no_reason_to_give_up"}),
    (GivesUpWhenAlone, {"a_far_side_that_is_not_there_is_no_reason_to_give_up"}),
    (OneAtATime, {AT_ONCE}),
    (Speechless, {"every_setting_is_described"}),
    (Unknowable, {"its_settings_have_a_json_schema"}),
    (TellsItsTokenAtStart, {"an_unknown_setting_is_refused"}),
    (TakesAnyKey, {"an_unknown_setting_is_refused"}),
    (TakesAnyInnerKey, {"an_unknown_setting_is_refused"}),
    (ChecksBySending, {"check_sends_nothing"}),
    (AlwaysWell, {"check_says_so_when_nobody_is_there"}),
    (ChecksInWords, {"check_sends_nothing"}),
    (TellsItsToken, {"tells_is_one_line_without_secrets"}),
    (TellsMuch, {"tells_is_one_line_without_secrets"}),
    (AsksBeforeItTells, {"tells_is_one_line_without_secrets"}),
    (ClosesOnce, {"closing_twice_is_harmless"}),
]  # fmt: skip


@pytest.mark.parametrize(("plugin", "wrong"), FAULTY, ids=lambda each: getattr(each, "__name__", ""))
def test_a_plugin_that_is_wrong_in_one_way_fails_just_there(plugin, wrong, tmp_path, capfd):
    """A check that cannot fail would be a promise that nobody keeps; one that fails for something else, a riddle.

    Where the far side hangs it takes the plugin's timeout each time, so that is left out where it is of no interest.
    """
    slow = {each for each in LEAKS | BREAKS if "hangs" in each}
    told = failed(contract_suite(plugin, settings, peer=HttpPeer), tmp_path, capfd, leave_out=slow - wrong)

    assert set(told) == wrong, told


def test_a_plugin_that_waits_for_ever_is_found_and_holds_nothing_up(tmp_path, capfd):
    """The suite itself must come to its end: the peer goes away, and the attempt with it."""
    suite = contract_suite(WaitsForEver, settings, peer=HttpPeer, within_s=0.5)

    told = failed(suite, tmp_path, capfd)

    assert set(told) == {"it_is_no_reason_to_give_up_when_it_hangs", "nothing_leaks_when_it_hangs"}
    assert set(told.values()) == {
        "it took longer than 0.5 s: give the plugin a timeout of its own, a short one in this test"
    }


class WaitsForAnotherThread(Poster):
    """As a lock that is taken twice: two at once wait for each other for ever."""

    inside = 0
    over = threading.Event()

    def post(self, event, delivery):
        type(self).inside += 1
        try:
            if self.inside > 1:
                self.over.wait()
            return super().post(event, delivery)
        finally:
            type(self).inside -= 1


class WaitsForARepeat(Poster):
    """It takes the first attempt, and hangs in the second."""

    over = threading.Event()

    def post(self, event, delivery):
        if delivery.attempt > 1:
            self.over.wait()
        return super().post(event, delivery)


class ChecksForEver(Poster):
    """Without a timeout."""

    over = threading.Event()

    @hookimpl
    def check(self):
        self.over.wait()


class TellsForEver(Poster):
    """As one that asks somebody."""

    over = threading.Event()

    @hookimpl
    def tells(self):
        self.over.wait()


class ClosesForEver(Poster):
    """As one that waits for a thread of its own."""

    over = threading.Event()

    @hookimpl
    def close(self):
        self.over.wait()


@pytest.mark.parametrize(
    ("plugin", "test"),
    [
        (WaitsForAnotherThread, AT_ONCE),
        (WaitsForARepeat, TWICE),
        (WaitsForARepeat, KNOWN),
        (ChecksForEver, "check_sends_nothing"),
        (ChecksForEver, "check_says_so_when_nobody_is_there"),
        (ChecksForEver, "a_redirect_of_302_is_not_followed"),
        (TellsForEver, "tells_is_one_line_without_secrets"),
        (ClosesForEver, "closing_twice_is_harmless"),
        (ClosesForEver, "nothing_leaks_while_a_delivery_succeeds"),
    ],
)
def test_a_plugin_that_hangs_holds_no_test_up_for_ever(plugin, test, tmp_path, capfd):
    """Wherever it hangs: what looks for deadlocks must not be held by one, and loggers are as they were."""
    suite, level = contract_suite(plugin, settings, peer=HttpPeer, within_s=0.5), logging.getLogger().level
    try:
        with pytest.raises(AssertionError, match=r"it took longer than 0\.5 s"):
            getattr(suite(), f"test_{test}")(tmp_path, capfd)
        assert logging.getLogger().level == level
    finally:
        plugin.over.set()
        for each in threading.enumerate():
            if each is not threading.current_thread() and each.daemon:
                each.join(1)
        plugin.over.clear()


@pytest.mark.filterwarnings("default")
def test_a_secret_in_a_warning_is_found(tmp_path, capfd):
    """Whoever runs a bridge reads its stderr, and keeps it."""
    told = failed(contract_suite(WarnsOfItsToken, settings, peer=HttpPeer), tmp_path, capfd)

    assert set(told) >= EVERY_LEAK
    assert told["nothing_leaks_while_a_delivery_succeeds"].startswith("settings.token stands in a warning: not enc")


def test_a_redirect_may_be_followed_where_the_author_says_so(tmp_path, capfd):
    """Where everybody can read it."""
    suite = contract_suite(FollowsRedirects, settings, peer=HttpPeer, statuses=dict.fromkeys((302, 307, 308)))

    assert not [each for each in vars(suite) if "redirect" in each]


class PostsReports(Poster):
    """Posts the report's file along, or as `choice` says without it."""

    contract = ">=1.1,<2"
    choice = "wait"

    def post(self, event, delivery):
        if delivery.event_type == "report-ready":
            try:
                delivery.report()
            except (NotYetError, PermanentError) as error:
                if self.choice == "wait":
                    raise
                if self.choice in _ERRORS:
                    raise _ERRORS[self.choice](f"no file: {error}") from None
        return super().post(event, delivery)


_ERRORS = {"temporary": TemporaryError, "permanent": PermanentError, "all": DestinationError, "accident": KeyError}
LATE, NEVER = "a_report_that_is_late_costs_no_attempt", "a_report_that_never_comes_is_waited_for_by_nobody"


@pytest.mark.parametrize(
    ("choice", "wrong"),
    [
        ("wait", set()),
        ("do without", set()),
        ("temporary", {LATE, NEVER}),
        ("permanent", {LATE}),
        ("all", {LATE, NEVER}),
        ("accident", {LATE, NEVER}),
    ],
)
def test_a_plugin_that_asks_for_the_report_does_without_or_lets_the_error_pass(tmp_path, capfd, choice, wrong):
    """A late report is no dead letter and stops no destination; one that never comes is no reason to wait."""
    asking = type("Asking", (PostsReports,), {"choice": choice, "__module__": __name__})
    suite = contract_suite(asking, settings, peer=HttpPeer)

    names = {name for name in vars(suite) if name.startswith("test_")}
    assert {f"test_{LATE}", f"test_{NEVER}"} < names
    kept = {f"test_{LATE}", f"test_{NEVER}", "test_the_bridge_can_use_it"}
    rest = {name.removeprefix("test_") for name in names - kept}
    assert set(failed(suite, tmp_path, capfd, leave_out=rest)) == wrong


class OfNoTime(Poster):
    """Says something that is no range of versions."""

    contract = "new"


class OfAnotherTime(Poster):
    """Made for a contract that is not this one."""

    contract = ">=2"


def test_a_plugin_that_is_made_for_another_contract_is_told_so(tmp_path, capfd):
    """In the author's own tests, before any clinic sees it."""
    told = failed(contract_suite(OfAnotherTime, settings, peer=HttpPeer), tmp_path, capfd)

    assert "is made for the contract >=2, and this GlycanBridge has 1.1" in told["the_bridge_can_use_it"]


def test_a_plugin_whose_contract_is_no_range_is_told_so(tmp_path, capfd):
    """By its own test, and not while the suite is made."""
    told = failed(contract_suite(OfNoTime, settings, peer=HttpPeer), tmp_path, capfd)

    assert "contract is no range of versions" in told["the_bridge_can_use_it"]


def test_a_plugin_that_the_bridge_cannot_use_fails_everywhere(tmp_path, capfd):
    """Its misspelt hook is told as `glycanbridge plugins list` tells it."""
    told = failed(contract_suite(Misspelt, settings, peer=HttpPeer), tmp_path, capfd)

    assert "on_report_redy is not a hook; did you mean 'on_report_ready'" in told["the_bridge_can_use_it"]


class Noter:
    """Writes into a file: a plugin without a far side, and without more hooks than it needs."""

    class Settings(BaseModel):
        """A file."""

        model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
        file: LocalPath
        """The file that is written to."""

    def __init__(self, settings):
        self.file = settings.file

    @hookimpl
    def on_report_ready(self, event, delivery):
        try:
            with self.file.open("a") as file:
                file.write(f"{delivery.id}\n")
        except OSError as error:
            raise TemporaryError(self.told(error, event)) from None

    def told(self, error, event):
        return f"the file cannot be written: {error.strerror}"


class LeakyNoter(Noter):
    """Tells for whom it could not be done."""

    def told(self, error, event):
        return f"no report for {event.data.patient_id}"


def directory_in_its_place(folder):
    """Settings with which nothing can be written."""
    return {"file": folder}


def test_what_does_not_apply_is_not_there(tmp_path, capfd):
    """A skipped or empty test would look like a promise."""
    ways = {"the file is a directory": directory_in_its_place}
    suite = contract_suite(Noter, {"file": "notes.txt"}, failing=ways)

    names = {each.removeprefix("test_") for each in vars(suite) if each.startswith("test_")}
    assert names == PLAIN - SECRET | {"nothing_leaks_when_the_file_is_a_directory"}
    assert failed(suite, tmp_path, capfd) == {}
    assert hasattr(contract_suite(Noter, {"file": "notes.txt"}, secrets=["a word"]), f"test_{min(SECRET)}")
    alone = contract_suite(Noter, {"file": "notes.txt"}, threads=1)
    assert not hasattr(alone, "test_it_can_be_called_by_several_threads_at_once")


def test_a_way_to_fail_can_be_given_by_settings(tmp_path, capfd):
    """And it must be one: settings with which a delivery succeeds show nothing."""
    ways = {"directory": directory_in_its_place, "well": {"file": "notes.txt"}}

    told = failed(contract_suite(LeakyNoter, {"file": "notes.txt"}, failing=ways), tmp_path, capfd)

    assert set(told) == {"nothing_leaks_when_directory", "nothing_leaks_when_well"}
    assert told["nothing_leaks_when_directory"].startswith("data.patientId stands in the error: no report for patient")
    assert told["nothing_leaks_when_well"].startswith("no delivery failed")


def test_what_a_status_means_can_be_said_otherwise(tmp_path, capfd):
    """In the author's own test file, for everybody to see; `None`: it does not apply."""
    statuses = {429: TemporaryError, 404: PermanentError, 401: None, 500: (PermanentError, DestinationError)}
    suite = contract_suite(Poster, settings, peer=HttpPeer, statuses=statuses)

    names = {each for each in vars(suite) if each.startswith("test_an_answer_of_4")}
    assert "test_an_answer_of_404_is_a_PermanentError" in names
    assert not any("401" in each for each in vars(suite))
    assert set(failed(suite, tmp_path, capfd)) == {
        "an_answer_of_429_is_a_TemporaryError",
        "an_answer_of_500_is_a_PermanentError_or_DestinationError",
    }


def test_what_is_harmless_and_what_makes_a_repeat_can_be_said(tmp_path, capfd):
    """The suite cannot know every far side's words."""
    by_length = contract_suite(NothingToKnowItBy, settings, peer=HttpPeer, repeat_key=lambda request: len(request.body))
    assert failed(by_length, tmp_path, capfd) == {}

    (tmp_path / "more").mkdir()
    harmless = contract_suite(ChecksBySending, settings, peer=HttpPeer, harmless=lambda request: request.body == b"{}")
    assert failed(harmless, tmp_path / "more", capfd) == {}


def test_other_texts_can_be_secrets_too(tmp_path, capfd):
    """Such as a token that the far side gives."""
    suite = contract_suite(Poster, settings, peer=HttpPeer, secrets=["posted"])

    told = failed(suite, tmp_path, capfd)

    assert "nothing_leaks_while_a_delivery_succeeds" in told
    assert told["nothing_leaks_while_a_delivery_succeeds"] == "secrets[0] stands in the receipt: posted"


@pytest.mark.parametrize("form", ["correct%2Fhorse%2F4711", "Y29ycmVjdC9ob3JzZS80NzEx", "correct/horse/4711"])
def test_a_secret_is_found_in_every_form(form, tmp_path, capfd):
    """In a URL it is quoted, in a header for Basic it is base64."""

    class Teller(Noter):
        @hookimpl
        def tells(self):
            return f"to {form}"

    told = failed(contract_suite(Teller, {"file": "notes.txt"}, secrets=["correct/horse/4711"]), tmp_path, capfd)

    assert set(told) == {"tells_is_one_line_without_secrets"}


def test_a_secret_that_is_too_short_to_be_looked_for_is_told(tmp_path, capfd):
    """`x` stands everywhere: the author takes a longer one in the test."""
    told = failed(contract_suite(Noter, {"file": "notes.txt"}, secrets=["x"]), tmp_path, capfd)

    assert "secrets[0] is too short" in told["nothing_leaks_while_a_delivery_succeeds"]


def test_a_plugin_without_hooks_has_nothing_to_test():
    """The class itself must be wrong."""
    with pytest.raises(ValueError, match="no hook for any event"):
        contract_suite(object, {})


def test_pytest_runs_the_suite_by_its_name(tmp_path, pytester):
    """As an author does it: one line, and each test with its sentence and its reason."""
    pytester.makepyfile(
        test_noter="""
        from test_testing_contract import Noter
        from glycanbridge.testing import contract_suite

        TestContract = contract_suite(Noter, {"file": "notes.txt"})
        """
    )
    done = pytester.runpytest("-v", "-n", "0", "-p", "no:randomly")

    done.assert_outcomes(passed=len(PLAIN - SECRET))
    done.stdout.fnmatch_lines(["*test_noter.py::TestContract::test_the_same_delivery_twice_does_not_fail PASSED*"])


class MailerSettings(BaseModel):
    """All described, and nothing else allowed."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    port: int
    """Where the mail server listens."""
    timeout_s: Timeout = 5
    """Seconds to wait for each of its answers."""


class Mailer:
    """Sends a mail for each report: what a good plugin for mails is like."""

    Settings = MailerSettings

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def on_report_ready(self, event, delivery):
        mail = f"Message-ID: <{delivery.event_id}@clinic.example>\r\n\r\n{event.data.kit_code}\r\n"
        try:
            with smtplib.SMTP("127.0.0.1", self.settings.port, "bridge.example", self.settings.timeout_s) as client:
                client.sendmail("bridge@clinic.example", ["staff@clinic.example"], mail)
        except smtplib.SMTPResponseException as error:
            raise self.refused(error) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise self.refused(smtplib.SMTPResponseException(*next(iter(error.recipients.values())))) from None
        except (OSError, smtplib.SMTPException) as error:
            raise self.broken(type(error).__name__) from None
        return "sent"

    def refused(self, error):
        return (PermanentError if error.smtp_code >= 500 else TemporaryError)(f"refused with {error.smtp_code}")

    def broken(self, why):
        return TemporaryError(why, unknown=True)


class QuotesTheReply(Mailer):
    """In which the server quotes what it was sent."""

    def refused(self, error):
        return TemporaryError(f"refused: {error.smtp_error.decode()}")


class GivesUpOnMail(Mailer):
    """Takes a broken connection for a refusal."""

    def broken(self, why):
        return PermanentError(why)


class AnotherMailEachTime(Mailer):
    """Nobody can know a repeat."""

    @hookimpl
    def on_report_ready(self, event, delivery):
        other = SimpleNamespace(event_id=uuid.uuid4())
        return super().on_report_ready(event, other)


MAIL_BREAKS = [
    "it_resets_the_connection",
    "it_resets_the_connection_after_the_mail",
    "it_hangs",
    "it_hangs_after_the_mail",
]
MAIL_REFUSED = ["it_refuses_the_mail", "it_defers_the_mail"]


@pytest.mark.parametrize(
    ("plugin", "wrong"),
    [
        (Mailer, set()),
        (QuotesTheReply, {f"nothing_leaks_when_{each}" for each in MAIL_REFUSED}),
        (
            GivesUpOnMail,
            {f"it_is_no_reason_to_give_up_when_{each}" for each in MAIL_BREAKS}
            | {"a_far_side_that_is_not_there_is_no_reason_to_give_up"},
        ),
        (AnotherMailEachTime, {KNOWN, AT_ONCE}),
    ],
)
def test_a_plugin_that_sends_mails_is_held_to_the_same(plugin, wrong, tmp_path, capfd):
    """With a mail server that refuses, defers, breaks off and hangs at each step."""
    suite = contract_suite(plugin, lambda peer: {"port": peer.port, "timeout_s": 1}, peer=SmtpPeer)

    told = failed(suite, tmp_path, capfd)

    assert set(told) == wrong, told
    assert {f"test_it_is_no_reason_to_give_up_when_{each}" for each in MAIL_BREAKS} < set(vars(suite))
