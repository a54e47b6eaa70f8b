"""`glycanbridge webhooks rotate`, step by step: with a GlycanAge on a real socket, once with a bridge that serves."""

from __future__ import annotations

import json
import os
import stat
from contextlib import closing
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from glycanage_peers import PUBLIC, SECRET, TOKEN, Clinic, serve_glycanage
from serving import sample, until

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.errors import GlycanAgeError, JournalUnavailable
from glycanbridge.glycanage.notes import DELETED, REGISTERED, ROTATED, SIGNED, SecretNotes, taken, takes
from glycanbridge.glycanage.secret_files import SecretList
from glycanbridge.journals.opening import open_by_hand, open_journal
from glycanbridge.settings import load
from glycanbridge.signature import Secrets, fingerprint, sign
from glycanbridge.testing import Answer, Fault, HttpPeer

NEW = "a-new-secret-of-more-than-32-characters"
FP, NEW_FP = fingerprint(SECRET), fingerprint(NEW)
LINE = "    - ${file:var/webhook-secret}    # the one that init wrote\n"
TODAY = date(2026, 11, 26)


@pytest.fixture
def glycanage():
    """A GlycanAge, with its peer."""
    with HttpPeer() as peer:
        glycanage = serve_glycanage(peer)
        glycanage.peer = peer
        yield glycanage


@pytest.fixture
def clinic(tmp_path, glycanage):
    """A bridge's folder with a journal, and one secret."""
    clinic = Clinic(tmp_path / "bridge", f"{glycanage.peer.url}/v1")
    open_journal(url_of(clinic)).close()
    return clinic


@pytest.fixture
def halfway(clinic):
    """The same with a new secret beside the old one, which a bridge has taken."""
    (clinic.folder / "var" / "new").write_text(NEW)
    clinic.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    bridge_runs(clinic, SECRET, NEW)
    return clinic


def url_of(clinic) -> str:
    """The journal's."""
    return f"sqlite:///{clinic.folder}/var/journal.db"


def bridge_runs(clinic, *secrets: str, signed: str | None = None) -> None:
    """What a bridge's keeper does: it notes what is taken, and what has signed."""
    own = Secrets(secrets)
    if signed is not None:
        own.verify(b"{}", sign(b"{}", signed))
    with closing(open_by_hand(url_of(clinic))) as journal:
        SecretNotes(journal, own).write()


def noted(clinic, about: str) -> list[str]:
    """What the journal was told about something."""
    with closing(open_by_hand(url_of(clinic))) as journal:
        return [each.what for each in journal.history(about)]


def taken_by(clinic) -> tuple[str, ...]:
    """The secrets that the bridge takes which was started last."""
    with closing(open_by_hand(url_of(clinic))) as journal:
        return takes(journal)


def rotate(clinic, *arguments: str, code: int = 0) -> dict[str, object]:
    """Run it; what it said."""
    done = clinic.run("webhooks", "rotate", "--json", *arguments)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_a_whole_rotation_loses_no_event_and_no_byte_of_bridge_yaml(serving, glycanage):
    """With a bridge that serves: between two secrets there is no moment in which an event would be refused."""
    clinic = Clinic(serving.folder, f"{glycanage.peer.url}/v1")
    destination = "all: {plugin: recorder, timeout_s: 0.2, settings: {file: taken.txt}}"
    clinic.change("destinations: {}", f"destinations: {{{destination}}}")
    before, told = clinic.config.read_bytes(), []

    def run(*arguments: str, code: int = 0) -> str:
        told.append(clinic.run("webhooks", *arguments))
        assert told[-1].exit_code == code, told[-1].output
        return told[-1].output

    serving.start()
    run("register")
    glycanage.approve()
    begun = run("rotate")
    (file,) = (clinic.folder / "var").glob("webhook-secret-*")
    new = file.read_text().strip()
    line = f"    - ${{file:var/{file.name}}}\n".encode()
    assert f"A new secret is in {file.relative_to(clinic.folder)}" in begun.replace(f"{clinic.folder}/", "")
    assert "next: restart the bridge now" in begun
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert clinic.config.read_bytes() == before.replace(LINE.encode(), LINE.encode() + line)
    assert "the bridge that was started last does not take it" in run("rotate")

    serving.stop()
    serving.start()
    until(lambda: taken_by(clinic) == (FP, fingerprint(new)))
    assert f"Registered the webhook wh_2 for {PUBLIC} with the new secret {fingerprint(new)}: pending" in run("rotate")
    assert [each.json["secret"] for each in glycanage.peer.requests if each.method == "POST"] == [SECRET, new]
    assert "No event that was signed with it has come yet" in run("rotate")
    assert [serving.post(sample(), signature=sign(sample(), each)).told["status"] for each in (SECRET, new)] == [
        "accepted", "duplicate",
    ]  # fmt: skip
    until(lambda: SIGNED in noted(clinic, f"secret {fingerprint(new)}"))
    assert "a rehearsal, as it is not approved" in run("rotate")
    glycanage.approve()

    assert "to delete: wh_1" in run("rotate", code=1)
    assert (len(glycanage.webhooks), clinic.config.read_bytes().count(b"${file:")) == (2, 2)
    assert "deleted: wh_1" in run("rotate", "--yes")
    assert [each["id"] for each in glycanage.webhooks] == ["wh_2"]
    assert clinic.config.read_bytes() == before.replace(LINE.encode(), line)
    assert (clinic.folder / "var" / "webhook-secret").exists()
    assert "next: restart the bridge, if that has not been done since the end on 20" in run("rotate")
    serving.stop()
    serving.start()
    until(lambda: taken_by(clinic) == (fingerprint(new),))
    assert "next: nothing; --again begins another one" in run("rotate")
    assert [serving.post(sample(), signature=sign(sample(), each)).status for each in (SECRET, new)] == [401, 200]
    assert not [each for each in told for secret in (SECRET, new, TOKEN) if secret in each.output]
    assert noted(clinic, f"secret {fingerprint(new)}") == [REGISTERED, SIGNED, ROTATED]
    assert noted(clinic, "webhook wh_1") == [DELETED]


def test_a_secret_is_registered_only_after_a_bridge_has_taken_it(clinic):
    """An event that it signs would be refused."""
    (clinic.folder / "var" / "new").write_text(NEW)
    clinic.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    for file in (clinic.folder / "var").glob("journal.db*"):
        file.unlink()

    told = rotate(clinic)

    assert told["step"] == "restart"
    assert told["done"] == [
        f"bridge.yaml has the new secret {NEW_FP}, and the bridge that was started last does not take it."
    ]


def test_a_rehearsals_event_before_the_registration_ends_no_rotation(halfway, glycanage):
    """Whoever sends a signed sample to a new bridge must not lose the old webhook by it."""
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    assert rotate(halfway)["step"] == "register"
    glycanage.webhooks[0].pop("status")

    assert rotate(halfway)["step"] == "wait"
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    assert rotate(halfway, code=1)["step"] == "finish"


def test_an_unknown_registration_of_our_url_is_a_persons_decision(halfway, glycanage):
    """It may be the one through which everything comes, made by hand."""
    glycanage.webhooks.append({"id": "by-hand", "name": "ours", "url": PUBLIC, "status": "approved"})
    rotate(halfway)
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    glycanage.approve()
    before = halfway.config.read_bytes()

    told = rotate(halfway, "--yes", code=1)

    assert "by-hand 'ours'" in told["done"][0]
    assert "`glycanbridge webhooks delete by-hand --yes`" in told["next"]
    assert (len(glycanage.webhooks), halfway.config.read_bytes()) == (2, before)
    assert halfway.run("webhooks", "delete", "by-hand", "--yes").exit_code == 0
    assert rotate(halfway, "--yes")["step"] == "finish"


def test_an_event_that_only_the_old_webhook_sends_keeps_it(halfway, glycanage):
    """It was registered for more than bridge.yaml says now: what nobody sends any more, nobody misses for weeks."""
    halfway.change("    - ${file:var/new}\n", "")
    halfway.run("webhooks", "register", "--event", "report-ready", "--event", "kit-received")
    halfway.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    halfway.change("  timeout_s: 5", "  events: [report-ready]\n  timeout_s: 5")
    rotate(halfway)
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    glycanage.approve()

    told = rotate(halfway, "--yes", code=1)

    assert told["done"] == ["The webhook with the new secret is not registered for kit-received, and the old one is."]
    assert "`glycanbridge webhooks delete wh_1 --yes` if nobody wants it" in told["next"]
    assert len(glycanage.webhooks) == 2
    assert halfway.run("webhooks", "register", "--again", "--event", "kit-received").exit_code == 0
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    assert rotate(halfway, "--yes")["step"] == "finish"
    assert [each["id"] for each in glycanage.webhooks] == ["wh_2", "wh_3"]


def test_a_registration_that_is_listed_no_more_is_not_made_at_each_run(halfway, glycanage):
    """GlycanAge's team may have refused it: somebody must ask."""
    rotate(halfway)
    glycanage.webhooks.clear()

    told = rotate(halfway, code=1)

    assert told["done"][0].startswith("The webhook wh_1 was registered on")
    assert "support@glycanage.com" in told["next"]
    assert glycanage.webhooks == []
    assert halfway.run("webhooks", "register", "--again").exit_code == 0
    assert rotate(halfway)["step"] == "wait"


def test_what_is_of_another_url_is_never_touched(halfway, glycanage):
    """One account, several bridges: also one with the very same secret."""
    glycanage.webhooks.append({"id": "other", "name": f"x (secret {FP})", "url": f"{PUBLIC}2", "status": "approved"})
    rotate(halfway)
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)

    rotate(halfway, "--yes")

    assert [each["id"] for each in glycanage.webhooks] == ["other", "wh_1"]


def test_a_name_that_glycanage_alters_does_not_matter(halfway, glycanage):
    """The journal knows which registration was made with which secret."""
    halfway.change("    - ${file:var/new}\n", "")
    halfway.run("webhooks", "register")
    halfway.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    glycanage.webhooks[0]["name"] = "GLYCANBRIDGE"
    rotate(halfway)
    glycanage.webhooks[1]["name"] = "GLYCANBRIDGE"
    glycanage.approve()
    assert rotate(halfway)["step"] == "wait"
    bridge_runs(halfway, SECRET, NEW, signed=NEW)

    assert "deleted: wh_1" in rotate(halfway, "--yes")["done"]
    assert [each["id"] for each in glycanage.webhooks] == ["wh_2"]


def test_an_end_that_was_broken_off_is_gone_on_with(halfway, glycanage):
    """The old webhook is gone, its answer was lost, and the line is still there."""
    halfway.change("    - ${file:var/new}\n", "")
    halfway.run("webhooks", "register")
    halfway.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    rotate(halfway)
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    glycanage.approve()
    peer, answered = glycanage.peer, []

    def breaks_off(request):
        answered.append(request.method)
        said = glycanage.answer(request)
        return said if len(answered) == 1 else Fault.RESET

    peer.answer(breaks_off)
    done = halfway.run("webhooks", "rotate", "--yes")
    assert (done.exit_code, "whether it was done is not known" in done.stderr) == (1, True), done.output
    assert answered == ["GET", "DELETE", "GET", "GET"]
    peer.answer(glycanage.answer)

    told = rotate(halfway, "--yes")

    assert not [each for each in told["done"] if each.startswith("deleted")]
    assert LINE not in halfway.config.read_text()


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        (["new", "webhook-secret", "third"], "has 3 secrets"),
        (["webhook-secret", "webhook-secret"], "the same secret twice"),
        (["new", "webhook-secret"], "the last one must be the new one"),
    ],
)
def test_a_list_that_it_does_not_understand_is_left_alone(clinic, glycanage, secrets, told):
    """Else the wrong one would go."""
    bridge_runs(clinic, SECRET)
    bridge_runs(clinic, SECRET, NEW)
    for name in ("new", "third"):
        (clinic.folder / "var" / name).write_text(NEW + name.removeprefix("new"))
    clinic.change(LINE, "".join(f"    - ${{file:var/{each}}}\n" for each in secrets))

    done = clinic.run("webhooks", "rotate", "--yes")

    assert (done.exit_code, told in done.stderr) == (1, True), done.output
    assert glycanage.peer.connections == 0


def test_a_day_after_a_rotation_or_on_purpose_another_one_is_begun(halfway, glycanage):
    """And its file has a name of its own, also on the same day."""
    rotate(halfway)
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    rotate(halfway, "--yes")

    assert rotate(halfway)["step"] == "rest"
    bridge_runs(halfway, NEW)
    assert rotate(halfway)["next"] == "nothing; --again begins another one"
    assert rotate(halfway, "--again")["step"] == "begin"
    assert len(list((halfway.folder / "var").glob("new-*"))) == 1


def test_a_list_in_another_form_is_left_to_a_person(clinic):
    """A program that edits a person's file guesses nothing."""
    clinic.change(f"\n{LINE}", " ['${file:var/webhook-secret}']\n")
    clinic.change("# any one of them may have signed", "")
    before = clinic.config.read_bytes()

    told = rotate(clinic, code=1)

    assert "was not changed: the list is not written as an item a line" in told["done"][0]
    assert '"${file:var/webhook-secret-' in told["next"]
    assert clinic.config.read_bytes() == before
    assert len(list((clinic.folder / "var").glob("webhook-secret*"))) == 1


def test_a_flow_list_that_a_person_has_lengthened_is_rotated_to_its_end(clinic, glycanage):
    """The last line, too, is a person's to take out."""
    (clinic.folder / "var" / "new").write_text(NEW)
    clinic.change(
        f"          # any one of them may have signed\n{LINE}", " ['${file:var/webhook-secret}', '${file:var/new}']\n"
    )
    bridge_runs(clinic, SECRET, NEW)
    rotate(clinic)
    glycanage.approve()
    bridge_runs(clinic, SECRET, NEW, signed=NEW)

    told = rotate(clinic, "--yes", code=1)

    assert "take the first of receiver.secrets out" in told["next"]
    clinic.change("'${file:var/webhook-secret}', ", "")
    assert rotate(clinic)["step"] == "rest"


RECEIVER = "receiver:\n  secrets:\n    - ${file:s}\n"
EDITABLE = {
    "plain": (RECEIVER, "receiver:\n  secrets:\n    - ${file:s}\n    - ${file:s-2026-11-26}\n"),
    "no end": (RECEIVER[:-1], "receiver:\n  secrets:\n    - ${file:s}\n    - ${file:s-2026-11-26}"),
    "windows": (RECEIVER.replace("\n", "\r\n"),
                "receiver:\r\n  secrets:\r\n    - ${file:s}\r\n    - ${file:s-2026-11-26}\r\n"),
    "mark": ("\ufeff" + RECEIVER, "\ufeffreceiver:\n  secrets:\n    - ${file:s}\n    - ${file:s-2026-11-26}\n"),
    "no indentation": ("receiver:\n  secrets:\n  -   '${file:s}' # x\n\n  # y\n  path: /x\n",
                       ("receiver:\n  secrets:\n  -   '${file:s}' # x\n  -   ${file:s-2026-11-26}\n\n"
                        "  # y\n  path: /x\n")),
    "another place": ("glycanage:\n  base_url: https://x.example\n  email: a@b\n  token: '- ${file:s}'\n# \u2028# - x\n"
                      + RECEIVER, ...),
    "odd blanks": ("# \u00e9\u0085\n" + RECEIVER, ...),
}  # fmt: skip


def listed(tmp_path, text: str) -> SecretList:
    """The list in a bridge.yaml."""
    (tmp_path / "s").write_text(SECRET)
    (tmp_path / "bridge.yaml").write_bytes(text.encode())
    source = BridgeYaml(tmp_path / "bridge.yaml")
    load(source)
    return SecretList(source)


@pytest.mark.parametrize("form", EDITABLE)
def test_one_line_comes_and_goes_and_every_other_byte_stays(tmp_path, form):
    """Comments, ends of lines, a byte order mark: the file is a person's."""
    before, after = EDITABLE[form]
    after = before + "    - ${file:s-2026-11-26}\n" if after is ... else after
    secrets, file = listed(tmp_path, before), tmp_path / "bridge.yaml"
    file.chmod(0o640)
    path = secrets.new_path(TODAY)
    assert secrets.trouble() == ""

    assert secrets.write_secret(path) == tmp_path / "s-2026-11-26"
    secrets.add(path)
    assert (file.read_bytes().decode(), stat.S_IMODE(file.stat().st_mode)) == (after, 0o640)
    assert load(BridgeYaml(file)).receiver.secrets[1].get_secret_value() == (tmp_path / path).read_text().strip()
    secrets.remove(1)
    assert file.read_bytes().decode().rstrip("\n") == before.rstrip("\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bridge.yaml", "s", "s-2026-11-26"]


@pytest.mark.parametrize(
    "text",
    [
        "receiver: {secrets: ['${file:s}']}\n",
        "receiver:\n  secrets: ['${file:s}']\n",
        "receiver:\n  secrets: [\n    '${file:s}' ]\n",
        "receiver:\n  secrets:\n    - |\n      ${file:s}\n",
        "receiver:\n  secrets:\n    -\n      ${file:s}\n",
        "receiver:\n  secrets:\n    - ${file:s}\n      and more\n",
        '{"receiver": {"secrets": ["${file:s}"]}}\n',
    ],
)
def test_a_list_that_is_written_otherwise_is_not_edited(tmp_path, text):
    """Nothing is changed, and it is said."""
    secrets = listed(tmp_path, text)

    if "and more" not in text:  # that one is seen when it is read anew
        assert secrets.trouble() == "the list is not written as an item a line"
    with pytest.raises(GlycanAgeError, match="was not changed"):
        secrets.add("s")
    assert (tmp_path / "bridge.yaml").read_bytes() == text.encode()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bridge.yaml", "s"]


def test_a_link_is_not_replaced_by_a_file(tmp_path):
    """What keeps the file it leads to would bring the old one back."""
    listed(tmp_path, RECEIVER)
    (tmp_path / "bridge.yaml").rename(tmp_path / "kept.yaml")
    (tmp_path / "bridge.yaml").symlink_to("kept.yaml")
    secrets = SecretList(BridgeYaml(tmp_path / "bridge.yaml"))

    assert "it is a link" in secrets.trouble()
    with pytest.raises(GlycanAgeError, match="was not changed: it is a link"):
        secrets.remove(0)


def test_a_change_that_would_be_wrong_or_that_somebody_else_makes_is_not_made(tmp_path, monkeypatch):
    """The new text is read before it stands in the file's place."""
    secrets, file = listed(tmp_path, RECEIVER), tmp_path / "bridge.yaml"
    with pytest.raises(GlycanAgeError, match=r"it would be wrong afterwards: .*cannot be read"):
        secrets.add("nothing-there")
    with pytest.raises(GlycanAgeError, match="it would be wrong afterwards: expected a list"):
        secrets.remove(0)
    with pytest.raises(GlycanAgeError, match=r"it would be wrong afterwards|more than one line"):
        secrets.add("s}\n  path: /other #")
    assert file.read_text() == RECEIVER
    check = SecretList._check

    def while_somebody_writes(self, new, expected):
        check(self, new, expected)
        file.write_text(RECEIVER + "# theirs\n")

    monkeypatch.setattr(SecretList, "_check", while_somebody_writes)
    with pytest.raises(GlycanAgeError, match="somebody else is writing it"):
        secrets.add("s")
    assert file.read_text() == RECEIVER + "# theirs\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bridge.yaml", "s"]


def test_a_folder_that_takes_no_file_changes_nothing(tmp_path, monkeypatch):
    """A full disk, a file system that is mounted for reading."""
    secrets = listed(tmp_path, RECEIVER)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GlycanAgeError, match="the new secret cannot be written: No space left"):
        secrets.write_secret("new")
    with pytest.raises(GlycanAgeError, match="was not changed: No space left"):
        secrets.add("s")
    assert (tmp_path / "bridge.yaml").read_text() == RECEIVER
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bridge.yaml", "s"]


def test_a_file_that_cannot_be_written_is_a_persons_to_write(clinic, monkeypatch):
    """In a container bridge.yaml is often mounted for reading alone: what to write is said all the same."""
    before, replace = clinic.config.read_bytes(), Path.replace

    def read_only(self, target):
        if Path(target).name == "bridge.yaml":
            raise OSError(30, "Read-only file system")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", read_only)
    told = rotate(clinic, code=1)

    assert told["done"] == ["bridge.yaml was not changed: Read-only file system."]
    assert "at the end of receiver.secrets, restart the bridge" in told["next"]
    assert clinic.config.read_bytes() == before
    assert [each.name for each in (clinic.folder / "var").glob("webhook-secret*")] == ["webhook-secret"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only an administrator may give files away")
def test_what_an_administrator_writes_belongs_to_the_bridge(tmp_path):
    """A secret of mode 0600 that is root's would keep the bridge from starting."""
    secrets = listed(tmp_path, RECEIVER)
    for name in ("s", "bridge.yaml"):
        os.chown(tmp_path / name, 12345, 12345)

    secrets.write_secret("new")
    secrets.add("new")

    assert {(tmp_path / name).stat().st_uid for name in ("new", "bridge.yaml")} == {12345}


@pytest.mark.skipif(os.name == "nt", reason="there rights are no modes")
@pytest.mark.parametrize(("old", "new"), [(0o600, 0o600), (0o640, 0o640), (0o644, 0o600), (0o660, 0o640)])
def test_a_bridge_that_reads_its_secret_by_its_group_reads_the_new_one_too(tmp_path, old, new):
    """Root's file for the bridge's group: with mode 0600 the bridge would not start again, and events be refused."""
    secrets = listed(tmp_path, RECEIVER)
    (tmp_path / "s").chmod(old)

    assert stat.S_IMODE(secrets.write_secret("new").stat().st_mode) == new


def test_the_file_of_a_new_secret_is_beside_the_old_one_and_dated_once(tmp_path):
    """After years of rotations its name is no longer than before."""
    (tmp_path / "s-2025-01-01-2").write_text(SECRET)
    (tmp_path / "s-2026-11-26").write_text("taken")
    secrets = listed(tmp_path, RECEIVER.replace("file:s}", "file:s-2025-01-01-2}"))
    assert secrets.new_path(TODAY) == "s-2026-11-26-2"
    assert (
        listed(tmp_path, f"receiver:\n  secrets:\n    - {SECRET}\n").new_path(TODAY) == "var/webhook-secret-2026-11-26"
    )


@pytest.mark.parametrize("folder", ["/run/secrets", "/var/run", "/dev/shm"])
def test_a_new_secret_is_not_written_where_it_would_be_gone_after_a_start(tmp_path, folder):
    """A container's secrets are handed in; bridge.yaml would name a file that no longer is."""
    reference = f"file:{folder}/glycanbridge-hook:-{SECRET}"

    assert listed(tmp_path, RECEIVER.replace("file:s", reference)).new_path(TODAY) == "var/webhook-secret-2026-11-26"


def test_a_bridge_that_was_put_back_to_the_old_secret_ends_no_rotation(halfway, glycanage):
    """It took the new one once; what the new webhook sends it now, it refuses. Also an end that was near waits."""
    rotate(halfway)
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    bridge_runs(halfway, SECRET)
    before = halfway.config.read_bytes()

    told = rotate(halfway, "--yes")

    assert (told["step"], told["next"]) == (
        "restart", "restart the bridge, then run `glycanbridge webhooks rotate` again",
    )  # fmt: skip
    assert (len(glycanage.webhooks), halfway.config.read_bytes()) == (1, before)
    bridge_runs(halfway, SECRET, NEW)
    assert rotate(halfway, "--yes")["step"] == "finish"


def test_an_older_bridge_yaml_that_is_put_back_after_the_end_is_still_understood(halfway, glycanage):
    """Which of the two is the new one is told by the first start with it, not by the last one."""
    rotate(halfway)
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    bridge_runs(halfway, NEW)
    bridge_runs(halfway, SECRET, NEW)

    assert rotate(halfway, "--yes")["step"] == "finish"


@pytest.mark.parametrize("other_url", [False, True])
def test_where_glycanage_takes_no_second_webhook_of_a_url_there_are_two_ways_on(halfway, glycanage, other_url):
    """Its page does not say whether it does. The refusal changes nothing, and both ways of docs/glycanage.md work."""
    halfway.change("    - ${file:var/new}\n", "")
    halfway.run("webhooks", "register")
    halfway.change(LINE, f"{LINE}    - ${{file:var/new}}\n")
    glycanage.approve()
    before = halfway.config.read_bytes()

    def one_of_each_url(request):
        taken_already = request.method == "POST" and request.json["url"] in {each["url"] for each in glycanage.webhooks}
        return Answer(409) if taken_already else glycanage.answer(request)

    glycanage.peer.answer(one_of_each_url)
    refused = halfway.run("webhooks", "rotate")
    assert (refused.exit_code, "answered 409: there is such a one already" in refused.stderr) == (1, True)
    assert ([each["id"] for each in glycanage.webhooks], halfway.config.read_bytes()) == (["wh_1"], before)

    if other_url:
        halfway.change(PUBLIC, PUBLIC.replace("bridge.", "bridge2."))
    else:
        assert halfway.run("webhooks", "delete", "wh_1", "--yes", "--last").exit_code == 0
    assert rotate(halfway)["step"] == "register"
    glycanage.approve()
    bridge_runs(halfway, SECRET, NEW, signed=NEW)
    if other_url:
        assert halfway.run("webhooks", "delete", "wh_1", "--yes").exit_code == 0
    assert rotate(halfway, "--yes")["step"] == "finish"
    assert ([each["id"] for each in glycanage.webhooks], LINE in halfway.config.read_text()) == (["wh_2"], False)


def test_a_bridge_notes_what_it_takes_at_a_start_if_that_is_news_and_once_what_has_signed(journal):
    """A flood of events is one note, a restart none; while nothing happens, nothing is even read."""
    secrets = Secrets([SECRET, NEW])
    notes = SecretNotes(journal, secrets)
    for _ in range(3):
        secrets.verify(b"{}", sign(b"{}", NEW))
        notes.write()
    again = Secrets([SECRET, NEW])
    again.verify(b"{}", sign(b"{}", NEW))
    SecretNotes(journal, again).write()

    assert [(each.who, each.what, each.reason) for each in journal.history(f"secret {NEW_FP}")] == [
        ("glycanbridge", SIGNED, None),
    ]  # fmt: skip
    assert journal.history(f"secret {FP}") == []
    notes._journal = SimpleNamespace()
    notes.write()
    for secrets in ([SECRET, NEW], [NEW], [NEW], [SECRET, NEW]):
        SecretNotes(journal, Secrets(secrets)).write()
    assert taken(journal) == [(FP, NEW_FP), (NEW_FP,), (FP, NEW_FP)]


def test_what_could_not_be_noted_is_noted_later(journal, monkeypatch):
    """A full disk must not end a rotation for good."""
    secrets, note, trouble = Secrets([NEW]), journal.note, [JournalUnavailable("full")] * 2
    notes = SecretNotes(journal, secrets)
    secrets.verify(b"{}", sign(b"{}", NEW))
    monkeypatch.setattr(
        journal, "note", lambda **told: (_ for _ in ()).throw(trouble.pop()) if trouble else note(**told)
    )

    for _ in range(2):
        with pytest.raises(JournalUnavailable):
            notes.write()
    notes.write()

    assert [each.what for each in journal.history(f"secret {NEW_FP}")] == [SIGNED]
    assert taken(journal) == [(NEW_FP,)]


def test_a_refused_registration_leaves_all_as_it_was(halfway, glycanage):
    """A short secret of one's own, or an answer that says no."""
    (halfway.folder / "var" / "new").write_text("short")
    bridge_runs(halfway, SECRET, "short")
    short = halfway.run("webhooks", "rotate")
    (halfway.folder / "var" / "new").write_text(NEW)
    bridge_runs(halfway, SECRET, NEW)
    glycanage.lose, glycanage.lost = {"POST"}, Answer(403)
    refused = halfway.run("webhooks", "rotate")

    assert (short.exit_code, refused.exit_code) == (78, 1)
    assert "receiver.secrets.1: has 5 characters" in short.stderr
    assert "answered 403" in refused.stderr
    assert REGISTERED not in noted(halfway, f"secret {NEW_FP}")
