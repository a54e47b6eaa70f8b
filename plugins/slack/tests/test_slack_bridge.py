"""The plugin in a real bridge: from GlycanAge's signed request to a message in Slack, through repeats and kills."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from serving import SECRET, Serving, request, sample, served, until

from glycanbridge.testing import Answer, Fault

README = Path(__file__).parents[1] / "README.md"
EVIL = "evil.example"
NEEDLES = ["KIT001234", "patient_123", "report_78901", "test_56789", "B0NEEDLE", "NeedleOfTheWebhook"]


@pytest.fixture
def serving(tmp_path, slack):
    """A bridge's folder with one Slack destination, and schedules that make no test wait."""
    serving = Serving(tmp_path)
    secret = tmp_path / "slack-webhook-url"
    secret.write_text(slack.url + "\n")

    def configure(timeouts=(5, 5), **more):
        settings = {"webhook_url": "${file:slack-webhook-url}"}
        settings |= dict(zip(("connect_timeout_s", "read_timeout_s"), timeouts, strict=True))
        destination = {"plugin": "slack", "settings": settings, "retry": {"schedule_s": [0, 0, 0]}}
        serving.configure({"results-slack": destination | more})

    serving.set_up = configure
    configure()
    return serving


def state(serving):
    """The state of the only delivery, and what was said of it last."""
    ((row),) = serving.rows("deliveries", "list")
    return row["state"], row["receipt"] or row["last_error"]


def leaks(serving):
    """What of the needles stands in logs and lists, where it must not."""
    told = serving.log.read_text() + json.dumps(serving.rows("deliveries", "list"))
    told += serving.run("dead-letters", "list", "--json").stdout + serving.run("check", "--online").stdout
    return [each for each in NEEDLES if each in told]


def test_the_readmes_example_runs_as_it_is_written(tmp_path, slack, kit, monkeypatch):
    """The block of `bridge.yaml`, a signed event, and a message that a person can read."""
    serving = Serving(tmp_path)
    block = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    serving.config.write_text(block, encoding="utf-8")
    (tmp_path / "var" / "webhook-secret").write_text(SECRET + "\n")
    (tmp_path / "var" / "slack-webhook-url").write_text(slack.url + "\n")
    monkeypatch.setenv("GLYCANBRIDGE_LISTEN", "127.0.0.1:0")

    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout
    assert f"results-slack: a message to Slack at 127.0.0.1:{slack.port}: kind of event" in checked.stdout
    assert f"results-slack: 127.0.0.1:{slack.port} knows the webhook; nothing was posted (no_text)" in checked.stdout
    assert slack.messages == []

    with served(serving):
        event_id = serving.post(sample()).told["id"]
        until(lambda: slack.messages)
        until(lambda: state(serving) == ("delivered", "ok"))
    shown = kit.shown(slack.messages[0])
    assert shown[:3] == ["Report ready", "Kit code\n…1234", "Practice id\npractice_67890"]
    assert shown[-1] == f"2023-08-27 10:00 Europe/Zagreb\nEvent {event_id[:12]}"
    reference = shown[-1].rpartition(" ")[2]
    assert serving.run("events", "show", reference).returncode == 0
    assert leaks(serving) == []


def test_a_replay_is_the_same_message_with_the_same_reference(serving, slack, kit):
    """Slack cannot tell them apart, so people must be able to."""
    with served(serving):
        serving.post(sample())
        until(lambda: len(slack.messages) == 1)
        until(lambda: state(serving)[0] == "delivered")
        assert serving.post(sample()).told["status"] == "duplicate"
        reference = kit.shown(slack.messages[0])[-1].rpartition(" ")[2]
        assert serving.run("events", "replay", reference).returncode == 0
        until(lambda: len(slack.messages) == 2)
    assert slack.messages[0] == slack.messages[1]


@pytest.fixture
def killed(serving, slack):
    """Has an event taken by the peer, which kills the bridge with the message in its hands and before it answers."""

    def take_and_kill(request):
        slack.messages.append(request.json)
        serving.process.kill()
        serving.process.wait(20)
        return Fault.CLOSE

    def killed(**more):
        serving.set_up(**more)
        slack.answer(take_and_kill, slack.as_slack)
        serving.start()
        with suppress(ConnectionError):  # it may be dead before its 200 is out
            serving.ask(request(sample()))
        until(lambda: serving.process.poll() is not None)
        serving.process.stdout.close()

    return killed


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_kill_between_slacks_ok_and_its_record_costs_one_repeat_and_no_message(
    killed, serving, slack, kit, isolation
):
    """After the start it is delivered; both messages carry one reference."""
    killed(isolation=isolation)
    with served(serving):
        until(lambda: len(slack.messages) == 2)
        until(lambda: state(serving) == ("delivered", "ok"))
    assert len(slack.messages) == 2
    assert len({kit.shown(each)[-1] for each in slack.messages}) == 1


def test_a_kill_repeats_nothing_where_a_repeat_hurts(killed, serving, slack):
    """With `on_unknown: hold` a person looks into the channel first, and says that it is there."""
    killed(on_unknown="hold")
    with served(serving):
        until(lambda: "1 deliveries wait for a person" in serving.run("check").stdout)
    assert state(serving)[0] == "pending"
    assert len(slack.requests) == 1


def test_a_message_whose_answer_the_network_lost_waits_for_a_person_where_a_repeat_hurts(serving, slack):
    """It may be there: with `on_unknown: hold` somebody looks first."""
    serving.set_up(on_unknown="hold")
    slack.answer(Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", then=Fault.RESET))
    with served(serving):
        serving.post(sample())
        until(lambda: "1 deliveries wait for a person" in serving.run("check").stdout)
    assert "may be there already" in state(serving)[1]
    assert len(slack.requests) == 1


def test_an_attempt_that_was_cut_off_waits_for_a_person_where_a_repeat_hurts(serving, slack):
    """Slack's answer drips in until the attempt is ended at `timeout_s`; with `on_unknown: hold` it is not repeated."""
    serving.set_up(timeout_s=1, timeouts=(0.4, 0.4), on_unknown="hold")
    slack.answer(Fault.DRIP)
    with served(serving):
        serving.post(sample())
        until(lambda: "no answer within" in (state(serving)[1] or ""))
        assert state(serving)[0] == "pending"
        assert "1 deliveries wait for a person" in serving.run("check").stdout
    assert len([each for each in slack.requests if len(each.body) > 100]) == 1


def test_a_webhook_that_was_removed_holds_everything_up_and_nothing_dies(serving, slack):
    """Four attempts would be all there is; the destination is left alone instead, and the text says what to do."""
    slack.answer(Answer(404, "no_service"))
    with served(serving):
        serving.post(sample())
        until(lambda: "no_service: Slack does not know this webhook" in (state(serving)[1] or ""))
        for number in range(5):
            serving.post(sample(timestamp=1_693_123_200_000 + number + 1))
        until(lambda: len(serving.rows("deliveries", "list")) == 6)
        checked = serving.run("check").stdout
    assert {row["state"] for row in serving.rows("deliveries", "list")} == {"pending"}
    assert "results-slack waits" in checked
    assert len([each for each in slack.requests if len(each.body) > 100]) == 1
    assert leaks(serving) == []


def test_too_many_requests_cost_no_attempt(serving, slack):
    """The one attempt that there is, is still there when Slack takes messages again."""
    serving.set_up(retry={"schedule_s": []})

    slack.answer(Answer(429, "rate_limited", {"Retry-After": "1"}), slack.as_slack)
    with served(serving):
        serving.post(sample())
        until(lambda: state(serving) == ("delivered", "ok"))
    (shown,) = serving.rows("deliveries", "show", serving.rows("deliveries", "list")[0]["event_id"])
    first, second = sorted(shown["attempts"], key=lambda each: each["number"])
    assert "429 rate_limited: it asks to be left alone" in first["error"]
    assert second["receipt"] == "ok"
    assert len(slack.requests) == 2


def test_a_fault_of_slacks_is_one_request_an_attempt(serving, slack):
    """No quick tries: what failed may have been posted, and Slack takes one message a second."""
    slack.answer(*[Answer(500, "rollup_error")] * 3, slack.as_slack)
    with served(serving):
        serving.post(sample())
        until(lambda: state(serving) == ("delivered", "ok"))
    assert [row["attempts"] for row in serving.rows("deliveries", "list")] == [4]
    assert len(slack.requests) == 4


def test_a_refused_message_is_a_dead_letter_that_names_slacks_word(serving, slack):
    """And neither patient nor webhook in its reason."""
    slack.answer(Answer(400, "invalid_blocks"))
    with served(serving):
        serving.post(sample())
        until(lambda: state(serving)[0] == "dead")
    (letter,) = serving.rows("dead-letters", "list")
    assert "answered 400 invalid_blocks: it does not take this message as it is" in letter["reason"]
    assert leaks(serving) == []


def test_a_wrong_address_is_told_at_the_start_with_its_line_and_without_being_shown(serving):
    """Nothing is served to a wrong place."""
    (serving.folder / "slack-webhook-url").write_text(f"https://{EVIL}/services/T0/B0NEEDLE/x")
    checked = serving.run("check")
    assert checked.returncode == 78
    assert re.search(
        r"bridge.yaml:\d+:\d+: destinations.results-slack.settings.webhook_url: expected a webhook on hooks",
        checked.stdout,
    )
    assert "NEEDLE" not in checked.stdout + checked.stderr
    assert "evil" not in checked.stdout + checked.stderr
