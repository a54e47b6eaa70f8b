"""The plugin in a real bridge: from GlycanAge's signed request to a service, through repeats, kills and alarms."""

import base64
import hashlib
import hmac
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from serving import SECRET, Serving, request, sample, served, until

README = Path(__file__).parents[1] / "README.md"
NEEDLES = ["KIT001234", "patient_123", "report_78901", "test_56789", "NeedleOfTheUrl", "needle-token"]
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def serving(tmp_path, peer):
    """A bridge's folder with one HTTP destination, and schedules that make no test wait."""
    serving = Serving(tmp_path)
    (tmp_path / "url").write_text(peer.url + "\n")
    (tmp_path / "token").write_text("needle-token\n")

    def configure(timeouts=(5, 5), settings=None, **more):
        told = {"url": "${file:url}", "auth": {"bearer": "${file:token}"}} | (settings or {})
        told |= dict(zip(("connect_timeout_s", "read_timeout_s"), timeouts, strict=True))
        destination = {"plugin": "http", "settings": told, "retry": {"schedule_s": [0, 0, 0]}}
        serving.configure({"portal": destination | more})

    serving.set_up = configure
    configure()
    return serving


def state(serving, destination="portal"):
    """The state of a destination's only delivery, and what was said of it last."""
    ((row),) = [each for each in serving.rows("deliveries", "list") if each["destination"] == destination]
    return row["state"], row["receipt"] or row["last_error"]


def leaks(serving):
    """What of the needles stands in logs and lists, where it must not."""
    told = serving.log.read_text() + json.dumps(serving.rows("deliveries", "list"))
    told += serving.run("dead-letters", "list", "--json").stdout + serving.run("check", "--online").stdout
    return [each for each in NEEDLES if each in told]


def test_the_readmes_examples_run_as_they_are_written(tmp_path, another_peer, monkeypatch):
    """The clinic's own service, Teams, n8n and Zapier: the block of `bridge.yaml`, a signed event, what each gets."""
    portal, teams, n8n, zapier = peers = [another_peer() for _ in range(4)]
    teams.says(202)
    n8n.says(200, '{"message": "Workflow was started"}')
    zapier.says(200, '{"status": "success", "id": "0197-zap", "request_id": "0197-zap", "attempt": "0197-zap"}')
    serving = Serving(tmp_path)
    serving.config.write_text(re.search(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1], "utf-8")
    files = {
        "webhook-secret": SECRET, "portal-token": "needle-token", "n8n-secret": KEY,
        "teams-url": f"{teams.origin}/workflows/0a/invoke?api-version=1&sp=%2Frun&sig=NeedleOfTheUrl",
        "n8n-url": f"{n8n.origin}/webhook/NeedleOfTheUrl",
        "zapier-url": f"{zapier.origin}/hooks/catch/1/NeedleOfTheUrl/",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "var" / name).write_text(text + "\n")
    monkeypatch.setenv("GLYCANBRIDGE_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("PORTAL", portal.origin)

    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout
    assert f"teams: POST requests to 127.0.0.1:{teams.port}, NOT encrypted: kind of event" in checked.stdout
    assert f"n8n: 127.0.0.1:{n8n.port}: a connection; whether it takes events only an event" in checked.stdout
    assert [each.requests for each in peers] == [[], [], [], []]

    with served(serving):
        event_id = serving.post(sample()).told["id"]
        until(lambda: all(each.requests for each in peers))
        until(lambda: {row["state"] for row in serving.rows("deliveries", "list")} == {"delivered"})
    receipts = {row["destination"]: row["receipt"] for row in serving.rows("deliveries", "list")}
    assert receipts == {"portal": "200", "teams": "202", "n8n": "200", "zapier": "200 0197-zap"}
    _is_what_the_readme_shows(portal.requests[0], event_id)
    _is_a_card(teams.requests[0])
    _is_signed(n8n.requests[0], f"{event_id}:n8n")
    assert zapier.requests[0].json == {
        "what": "report-ready", "kit": "…1234", "practice": "practice_67890", "delivery": f"{event_id}:zapier",
    }  # fmt: skip
    assert leaks(serving) == []


def _is_what_the_readme_shows(request, event_id):
    """Its JSON block, but for the ids."""
    shown = json.loads(re.search(r"```json\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1])
    ids = {"event_id": event_id, "delivery_id": f"{event_id}:portal"}
    assert request.json == shown | ids
    assert request.path == "/glycanage"
    assert request.headers["authorization"] == "Bearer needle-token"
    assert request.headers["idempotency-key"] == ids["delivery_id"]


def _is_a_card(request):
    """As Power Automate takes it, with nothing but texts in its facts."""
    assert request.path == "/workflows/0a/invoke?api-version=1&sp=%2Frun&sig=NeedleOfTheUrl"
    (attachment,) = request.json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    title, facts = attachment["content"]["body"]
    assert title["text"] == "Report ready"
    assert facts["facts"] == [
        {"title": "Kit code", "value": "…1234"},
        {"title": "Practice", "value": "practice_67890"},
        {"title": "Created", "value": "27.08.2023 07:56 UTC"},
    ]


def _is_signed(request, delivery_id):
    """As a far side would see it that knows the secret and nothing of our code."""
    head = request.headers
    assert head["webhook-id"] == delivery_id
    content = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert head["webhook-signature"] == f"v1,{expected}"


def test_a_replay_is_the_same_request_again(serving, peer):
    """Key and body: a far side that looks at them takes it once."""
    with served(serving):
        event_id = serving.post(sample()).told["id"]
        until(lambda: state(serving) == ("delivered", "200"))
        assert serving.post(sample()).told["status"] == "duplicate"
        assert serving.run("events", "replay", event_id).returncode == 0
        until(lambda: len(peer.requests) == 2)
    first, second = peer.requests
    assert (first.body, first.headers) == (second.body, second.headers)


@pytest.fixture
def killed(serving, peer):
    """Has an event taken by the peer, which kills the bridge with it in its hands and before it answers."""

    def take_and_kill(handler):
        peer.answer = None
        serving.process.kill()
        serving.process.wait(20)
        handler.close_connection = True

    def killed(**more):
        serving.set_up(**more)
        peer.answer = take_and_kill
        serving.start()
        with suppress(ConnectionError):  # it may be dead before its 200 is out
            serving.ask(request(sample()))
        until(lambda: serving.process.poll() is not None)
        serving.process.stdout.close()

    return killed


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_kill_before_the_answer_costs_one_repeat_under_the_same_key(killed, serving, peer, isolation):
    """After the start it is delivered; the far side can tell that it was the same."""
    killed(isolation=isolation)
    with served(serving):
        until(lambda: len(peer.requests) == 2)
        until(lambda: state(serving) == ("delivered", "200"))
    assert len({(each.headers["idempotency-key"], each.body) for each in peer.requests}) == 1


def test_a_kill_repeats_nothing_where_a_repeat_hurts(killed, serving, peer):
    """With `on_unknown: hold` a person looks first, and says that it is there."""
    killed(on_unknown="hold")
    with served(serving):
        until(lambda: "1 deliveries wait for a person" in serving.run("check").stdout)
    assert state(serving)[0] == "pending"
    assert len(peer.requests) == 1


def test_a_lost_answer_waits_for_a_person_where_a_repeat_hurts(serving, peer):
    """It may be there."""
    serving.set_up(on_unknown="hold")
    peer.sends(b"HTTP/1.1 200 OK\r\nContent-Le", drop=True)
    with served(serving):
        serving.post(sample())
        until(lambda: "1 deliveries wait for a person" in serving.run("check").stdout)
    assert "may have taken the event already" in state(serving)[1]
    assert len(peer.requests) == 1


def test_an_answer_whose_head_drips_is_cut_off_at_the_attempts_end(serving, peer):
    """No time-out of a single read would ever end it; with `on_unknown: hold` it is not repeated."""
    serving.set_up(timeout_s=1, timeouts=(0.4, 0.4), on_unknown="hold")
    peer.drips(b"HTTP/1.1 200 OK\r\nX: ", 0.1)
    with served(serving):
        serving.post(sample())
        until(lambda: "no answer within" in (state(serving)[1] or ""))
        assert state(serving)[0] == "pending"
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("status", "told"), [(401, "answered 401: see to auth"), (404, "answered 404: see to url"), (302, "a redirect")]
)
def test_what_a_person_has_to_mend_holds_everything_up_and_nothing_dies(serving, peer, status, told):
    """Four attempts would be all there is; the destination is left alone instead, and the text says what to do."""
    peer.says(status)
    with served(serving):
        serving.post(sample())
        until(lambda: told in (state(serving)[1] or ""))
        for number in range(5):
            serving.post(sample(timestamp=1_693_123_200_000 + number + 1))
        until(lambda: len(serving.rows("deliveries", "list")) == 6)
        checked = serving.run("check").stdout
    assert {row["state"] for row in serving.rows("deliveries", "list")} == {"pending"}
    assert "portal waits" in checked
    assert len(peer.requests) == 1
    assert leaks(serving) == []


def test_too_many_requests_cost_no_attempt(serving, peer):
    """The one attempt that there is, is still there when the far side takes events again."""
    serving.set_up(retry={"schedule_s": []})

    def busy(handler):
        peer.answer = None
        handler.say(429, "", Retry_After="1")

    peer.answer = busy
    with served(serving):
        serving.post(sample())
        until(lambda: state(serving) == ("delivered", "200"))
    assert len(peer.requests) == 2


def test_a_fault_of_its_own_is_one_request_an_attempt(serving, peer):
    """No quick tries: what failed may be there."""

    def ill(handler):
        peer.answer = peer.answer if len(peer.requests) < 3 else None
        handler.say(500, "")

    peer.answer = ill
    with served(serving):
        serving.post(sample())
        until(lambda: state(serving) == ("delivered", "200"))
    assert [row["attempts"] for row in serving.rows("deliveries", "list")] == [4]
    assert [each.headers["idempotency-key"] for each in peer.requests] == [
        peer.requests[0].headers["idempotency-key"]
    ] * 4


def test_a_refused_event_is_a_dead_letter_and_an_alarm_for_another_destination(serving, peer, another_peer):
    """The alarm says which delivery it is, and nothing about the patient; the dead letter repeats no word of theirs."""
    pager = another_peer()
    peer.says(422, "no such patient: patient_123")
    portal = {"plugin": "http", "events": ["report-ready"], "settings": {"url": "${file:url}"}}
    alarm = {"plugin": "http", "events": ["delivery-dead"], "settings": {"url": pager.url}}
    serving.configure({"portal": portal, "pager": alarm})
    with served(serving):
        event_id = serving.post(sample()).told["id"]
        until(lambda: pager.requests)
        until(lambda: state(serving, "pager") == ("delivered", "200"))
    (letter,) = serving.rows("dead-letters", "list")
    assert letter["reason"].endswith(f"127.0.0.1:{peer.port} answered 422: it does not take this event as it is sent")
    told = pager.requests[0].json
    assert (told["type"], told["data"]["delivery_id"]) == ("delivery-dead", f"{event_id}:portal")
    assert [each for each in NEEDLES if each in json.dumps(told)] == []
    assert leaks(serving) == []


def test_a_template_that_fails_is_told_at_start_with_its_line(serving):
    """In the terms of bridge.yaml; it is tried with the event types that the destination gets."""
    body = '{\n"report": "{{ event.data.report_id }}"}'
    serving.set_up(settings={"body": body})
    checked = serving.run("check")
    assert checked.returncode == 78
    assert re.search(
        r"bridge.yaml:\d+:\d+: destinations.portal.settings.body: line 2 of it: there is no report_id; there is "
        r"order_id, .* \(tried with a sample of order-status-changed at personal: none; .* destination's events\)",
        checked.stdout,
    )
    serving.set_up(settings={"body": body}, events=["report-ready"])
    assert "no report_id; there is kit_code, practice_id" in serving.run("check").stdout
    serving.set_up(settings={"body": body, "personal": "ids"}, events=["report-ready"])
    assert serving.run("check").returncode == 0


def test_a_wrong_address_is_told_at_the_start_without_being_shown(serving):
    """Nothing is served to a wrong place."""
    (serving.folder / "url").write_text("http://evil.example/NeedleOfTheUrl")
    checked = serving.run("check")
    assert checked.returncode == 78
    assert re.search(r"bridge.yaml:\d+:\d+: destinations.portal.settings.url: expected https://", checked.stdout)
    assert "Needle" not in checked.stdout + checked.stderr
    assert "evil" not in checked.stdout + checked.stderr


def test_the_preview_is_a_command_of_the_destinations(serving, peer):
    """`glycanbridge destinations run NAME preview`: what would be sent, and nothing is."""
    listed = serving.run("destinations", "run", "portal")
    assert listed.stdout == "preview  Show the request for a sample event, its body whole; nothing is sent.\n"
    done = serving.run("destinations", "run", "portal", "preview", "kit-received")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"POST {peer.origin}/***\nContent-Type: application/json\n")
    assert '"type": "kit-received"' in done.stdout
    assert "Authorization: ***\n" in done.stdout
    assert "needle" not in done.stdout.lower()
    shown = serving.run("destinations", "run", "portal", "preview", "--secrets").stdout
    assert "Authorization: Bearer needle-token\n" in shown
    assert peer.requests == []


def test_a_signed_body_arrives_byte_for_byte(serving, peer):
    """With whatever GlycanAge may have added to it some day."""
    serving.set_up(settings={"as_signed": True, "personal": "full"}, events=["report-ready"])
    body = sample(data={"laterField": [1, 2.50, "ž"]}).replace(b", ", b" ,  ")
    with served(serving):
        assert serving.post(body).told["status"] == "accepted"
        until(lambda: state(serving) == ("delivered", "200"))
    assert peer.requests[0].body == body
