"""The commands by which a person decides: replay, confirm, discard, pause, resume, and those for the journal's file.

They need no serving bridge: what they decide stands in the journal, and a bridge that serves acts on it.
"""

from __future__ import annotations

import getpass
from contextlib import closing

import pytest
from conftest import Taker, make_destination
from serving import sample
from test_journal import DEAD, TERMS, settle

from glycanbridge.circuit import Circuit
from glycanbridge.cli.standing import hindrance
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.delivery import State
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.journal import Filter, NewEvent, Standing
from glycanbridge.journals.opening import open_journal

ME = getpass.getuser()
DESTINATIONS = {
    "ehr": {"plugin": "recorder", "settings": {"file": "taken.txt"}},
    "late": {"plugin": "recorder", "events": ["report-ready"], "settings": {"file": "late.txt"}},
}


@pytest.fixture
def past(serving):
    """A bridge's folder whose journal holds three events owed to `ehr`: one dead with its letter, two pending."""
    serving.configure(DESTINATIONS)
    journal = open_journal(f"sqlite:///{serving.folder}/var/journal.db")
    serving.ids = []
    for number, event_type in enumerate(("report-ready", "kit-received", "report-ready")):
        body = sample(event_type, timestamp=number)
        new = NewEvent(event=parse(body), id=event_id(body), body=body, owed_to={"ehr": ()})
        serving.ids.append(journal.record(new).event_id)
    (claim,) = journal.claim("ehr", limit=1, terms=TERMS)
    DeadLetters(serving.folder / "var" / "dead-letters").bury(
        claim.delivery, plugin="recorder", reason="no such patient"
    )
    settle(journal, claim, *DEAD)
    journal.close()
    return serving


def states(past) -> dict[str, str]:
    """Each delivery's state."""
    return {str(row["id"]): str(row["state"]) for row in past.rows("deliveries", "list")}


def test_actions_on_many_say_how_many_and_do_nothing_without_yes(past):
    """Exit 1, so that a script notices; nothing is on stdout."""
    before = states(past)
    for command, told in (
        (("dead-letters", "replay", "--all"), "1 dead letters"),
        (("dead-letters", "discard", "--destination", "ehr", "--reason", "x"), "1 dead letters"),
        (("deliveries", "replay", "--destination", "ehr"), "1 deliveries"),
        (("deliveries", "discard", "--destination", "ehr", "--reason", "x"), "2 deliveries"),
        (("events", "replay", "--destination", "late", "--since", "1d"), "2 deliveries of 2 events to late"),
        (("events", "replay", "--all"), "5 deliveries of 3 events to ehr, late"),
    ):
        done = past.run(*command)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert told in done.stderr
        assert "nothing was done: say --yes to do it" in done.stderr
    assert states(past) == before


@pytest.mark.parametrize(
    "command", [("dead-letters", "replay"), ("deliveries", "replay"), ("events", "replay"), ("deliveries", "discard")]
)
def test_nothing_chosen_is_not_everything(past, command):
    """A slip must not send a year of results again."""
    reason = ("--reason", "x") if command[1] == "discard" else ()
    nothing, both = (
        past.run(*command, *reason, "--yes"),
        past.run(*command, *reason, past.ids[0], "--type", "kit-received"),
    )

    assert (nothing.returncode, both.returncode) == (2, 2)
    assert "choose by filters" in nothing.stderr
    assert "not both" in both.stderr


def test_one_and_all_is_no_choice_none_a_second_no_speed_and_some_of_them_no_filter(past):
    """Whatever was meant: nothing is done."""
    before = states(past)
    both = past.run("deliveries", "replay", past.ids[0], "--all")
    never = past.run("deliveries", "replay", "--all", "--per-second", "0", "--yes")
    some = past.run("deliveries", "replay", "--all", "--limit", "1", "--yes")

    assert (both.returncode, "not both" in both.stderr) == (2, True)
    assert (never.returncode, some.returncode) == (2, 2)
    assert states(past) == before


def test_a_dead_letter_is_replayed_by_the_beginning_of_its_id(past):
    """Its file stays until it has been delivered."""
    (letter,) = past.rows("dead-letters", "list")

    done = past.run("dead-letters", "replay", str(letter["id"])[:8])

    assert (done.returncode, done.stdout) == (0, f"{letter['id'][:12]} is due now\n")
    assert states(past)[f"{past.ids[0]}:ehr"] == "pending"
    assert len(past.rows("dead-letters", "list")) == 1


def test_a_dead_letter_put_back_by_hand_is_replayed_after_the_journal_was_lost(past):
    """Also while no bridge has made a new one."""
    for file in (past.folder / "var").glob("journal.db*"):
        file.unlink()

    done = past.run("dead-letters", "replay", "--all", "--yes")

    assert done.returncode == 0, done.stderr
    assert states(past) == {f"{past.ids[0]}:ehr": "pending"}


def test_what_cannot_be_replayed_is_told_and_does_not_stop_the_others(past):
    """A damaged file, a body that is still not understood: exit 1, and each stays where it is."""
    letters = DeadLetters(past.folder / "var" / "dead-letters")
    letters.quarantine(b"[]", reason="not an event")
    (letters.directory / "20200101T000000000Z-abc.json").write_text("{")

    done = past.run("dead-letters", "replay", "--all", "--yes")

    assert done.returncode == 1
    assert "not a dead letter that can be read" in done.stderr
    assert sorted(line.partition(" ")[2][:14] for line in done.stdout.splitlines()) == ["is due now", "left as it is:"]
    assert states(past)[f"{past.ids[0]}:ehr"] == "pending"
    assert len(list(letters.directory.iterdir())) == 3


def test_a_discarded_dead_letter_leaves_who_and_why(past):
    """In the journal; a reason is asked for."""
    assert past.run("dead-letters", "discard", "--destination", "ehr", "--yes").returncode == 2

    done = past.run("dead-letters", "discard", "--destination", "ehr", "--yes", "--reason", "a test order")

    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, f"1 discarded by {ME}: a test order")
    assert past.rows("dead-letters", "list") == []
    (row,) = past.rows("deliveries", "show", f"{past.ids[0][:12]}:ehr")
    assert (row["state"], row["last_error"]) == ("dead", f"discarded by {ME}: a test order")
    assert [(each["who"], each["what"], each["reason"]) for each in row["history"]] == [(ME, "discard", "a test order")]


def test_a_destination_that_was_added_later_gets_the_past(past):
    """Only what it takes; twice is once."""
    done = past.run("events", "replay", "--destination", "late", "--since", "1d", "--yes", "--per-second", "0.5")
    again = past.run("events", "replay", "--destination", "late", "--since", "1d", "--yes")

    assert done.stderr.splitlines()[-1] == "2 to be made; 0 were due or running already"
    assert again.stderr.splitlines()[-1] == "1 to be made; 1 were due or running already"  # the later one, now
    rows = past.rows("deliveries", "list", "--destination", "late")
    assert {row["event_id"] for row in rows} == {past.ids[0], past.ids[2]}


def test_one_event_is_delivered_again_to_whoever_takes_it(past):
    """By the beginning of its id; without --yes, since it is one."""
    done = past.run("events", "replay", past.ids[0][:12])
    nobody = past.run("events", "replay", past.ids[0][:12], "--destination", "nobody")
    one = past.run("events", "replay", past.ids[1][:12])

    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "2 deliveries of 1 events to ehr, late")
    assert states(past)[f"{past.ids[0]}:ehr"] == states(past)[f"{past.ids[0]}:late"] == "pending"
    assert (nobody.returncode, "bridge.yaml has ehr, late" in nobody.stderr) == (2, True)
    assert one.stderr.splitlines()[0] == "1 deliveries of 1 events to ehr"


def test_dead_deliveries_are_made_again_without_their_letters(past):
    """The journal alone is enough."""
    (past.folder / "var" / "dead-letters").rename(past.folder / "elsewhere")

    done = past.run("deliveries", "replay", "--destination", "ehr", "--yes")

    assert done.returncode == 0
    assert set(states(past).values()) == {"pending"}
    (row,) = past.rows("deliveries", "show", f"{past.ids[0]}:ehr")
    assert [each["number"] for each in row["attempts"]] == [1]


def test_a_pending_delivery_is_confirmed_or_discarded_by_a_person(past):
    """Each with a reason; what is settled cannot be."""
    confirmed = past.run("deliveries", "confirm", past.ids[1], "--reason", "the EHR shows it")
    again = past.run("deliveries", "confirm", past.ids[1], "--reason", "again")
    discarded = past.run("deliveries", "discard", "--destination", "ehr", "--reason", "moved away", "--yes")

    assert (confirmed.returncode, again.returncode, discarded.returncode) == (0, 1, 0)
    assert "only a pending delivery can be confirmed" in again.stderr
    assert states(past) == {
        f"{past.ids[0]}:ehr": "dead", f"{past.ids[1]}:ehr": "delivered", f"{past.ids[2]}:ehr": "dead"
    }  # fmt: skip


def test_one_delivery_is_made_again_by_its_id(past):
    """It is one, so it needs no --yes."""
    done = past.run("deliveries", "replay", f"{past.ids[0][:12]}:ehr")

    assert done.stderr.splitlines() == ["1 deliveries", "1 to be made; 0 were due or running already"]
    assert states(past)[f"{past.ids[0]}:ehr"] == "pending"


def test_a_dead_delivery_that_is_discarded_takes_its_letter_along(past):
    """Else somebody sends it again from there. It is one, so it needs no --yes."""
    done = past.run("deliveries", "discard", past.ids[0], "--reason", "moved away")

    assert (done.returncode, past.rows("dead-letters", "list")) == (0, [])


def test_a_destination_that_fails_says_since_when_and_when_it_is_tried_again():
    """One that has failed, and not often enough to be left alone, is held up by nothing."""
    ehr = make_destination("ehr", Taker())
    once, often = Circuit(failures=1), Circuit(failures=5, open_since=0, probe_at=60_000)

    assert hindrance(ehr, Standing(circuit=once)) is None
    told = hindrance(ehr, Standing(circuit=often))
    assert told == "fails since 1970-01-01T00:00:00.000Z, tried again at 1970-01-01T00:01:00.000Z"
    assert hindrance(ehr, Standing(circuit=often, trouble="the password is wrong")) == f"{told}: the password is wrong"


def test_a_paused_destination_says_who_paused_it_and_why(past):
    """In `destinations` and `check`, with what it is owed; also one that is no longer in bridge.yaml."""
    assert past.run("destinations", "pause", "ehr", "--reason", "the EHR moves").returncode == 0
    (ehr, _) = past.rows("destinations")
    checked = past.run("check").stdout

    assert ehr["runs"].startswith(f"no: paused by {ME} since ")
    assert ehr["runs"].endswith(": the EHR moves")
    assert "ehr waits, and takes what is new: paused by" in checked
    assert "it is owed 2 deliveries" in checked
    assert "ehr: 1 deliveries are dead; `glycanbridge dead-letters list --destination ehr`" in checked

    past.configure({})
    assert past.rows("destinations", "list")[0]["runs"].startswith("no: not in bridge.yaml; paused by")
    assert past.run("destinations", "resume", "ehr").returncode == 0
    assert "ehr waits, and takes nothing new: not in bridge.yaml; it is owed 2" in past.run("check").stdout
    assert past.run("destinations", "pause", "ehr", "--reason", "gone for good").returncode == 0
    for command in (("pause", "nobody", "--reason", "x"), ("resume", "nobody")):
        done = past.run("destinations", *command)
        assert (done.returncode, "`glycanbridge destinations` shows them" in done.stderr) == (1, True)


def test_the_journals_file_is_checked_copied_and_made_smaller(past):
    """By the commands, in the words of a person."""
    copy = past.folder / "copy.db"
    check, backup = past.run("db", "check"), past.run("db", "backup", str(copy))
    again, vacuum, migrate = past.run("db", "backup", str(copy)), past.run("db", "vacuum"), past.run("db", "migrate")

    assert (check.returncode, "whole; 3 events, 1 dead, 2 pending deliveries" in check.stdout) == (0, True)
    assert (backup.returncode, "3 events" in backup.stderr) == (0, True)
    assert (again.returncode, "there is a file already" in again.stderr) == (1, True)
    assert (vacuum.returncode, migrate.returncode, migrate.stdout[-12:]) == (0, 0, ": version 3\n")

    copy.write_bytes(copy.read_bytes().replace(b"KIT001234", b"KIT001235"))
    copy.replace(past.folder / "var" / "journal.db")
    damaged = past.run("db", "check")
    assert damaged.returncode == 1
    assert "is not what was signed" in damaged.stdout
    assert "docs/operations.md" in damaged.stderr


def test_a_journal_that_is_still_to_be_made_is_told_as_such(serving):
    """By every command that needs one."""
    serving.configure(DESTINATIONS)
    for command in (
        ("db", "check"), ("deliveries", "replay", "--all"), ("events", "replay", "--all"),
        ("destinations", "resume", "ehr"), ("deliveries", "confirm", "x", "--reason", "x"),
    ):  # fmt: skip
        done = serving.run(*command)
        assert (done.returncode, "there is no journal yet" in done.stderr) == (1, True), command
    assert list((serving.folder / "var").iterdir()) == []


def test_a_held_delivery_is_shown_as_one_that_waits_for_a_person(past):
    """In `destinations`, `check`, and its own row."""
    url = f"sqlite:///{past.folder}/var/journal.db"
    with closing(open_journal(url)) as journal:
        journal.claim("ehr", limit=1, terms=TERMS)
    hold = type(TERMS)(holds_unknown=True)
    with closing(open_journal(url)) as journal:
        assert len(journal.claim("ehr", limit=1, terms=hold)) == 1
        (held,) = [row for row in journal.deliveries(Filter(state=State.PENDING)) if row.held]

    (ehr, _) = past.rows("destinations")
    (row,) = past.rows("deliveries", "show", held.id)
    assert (ehr["held"], row["held"], row["due_at"]) == (1, True, None)
    assert [each["outcome"] for each in row["attempts"]] == ["unknown"]
    assert "ehr: 1 deliveries wait for a person" in past.run("check").stdout


def test_options_before_a_subcommand_are_not_silently_left_out(past, tmp_path):
    """It would pause a destination of another bridge."""
    done = past.run("destinations", "-c", str(tmp_path / "other.yaml"), "pause", "ehr", "--reason", "x")

    assert (done.returncode, "write the options after 'pause'" in done.stderr) == (2, True)
    assert past.rows("destinations")[0]["runs"] == "yes"


def test_a_destination_that_is_not_paused_cannot_be_resumed(past):
    """Nor one that has been already."""
    past.run("destinations", "pause", "ehr", "--reason", "x")
    first, second = past.run("destinations", "resume", "ehr"), past.run("destinations", "resume", "ehr")

    assert (first.returncode, second.returncode) == (0, 1)
    assert "neither paused nor failing" in second.stderr
