"""`glycanbridge mailbox`: a mail server for rehearsals, in this process, with mails that come over a socket."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import stat
import threading

from click.testing import CliRunner
from serving import until

from glycanbridge.cli import main
from glycanbridge.demo.mails import MailCatcher

MAIL = "Subject: Report of patient_123\r\n\r\nGlycanAge 45.2\r\n"


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def send(port: int, *recipients: str) -> None:
    """Send a mail, as the plugin does."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("glycanbridge@clinic.example", recipients, MAIL)


def test_each_mail_is_a_file_and_a_line_that_says_nothing_of_what_is_in_it(tmp_path):
    """A terminal's lines are seen by whoever walks by; the files are their owner's, and older ones stay."""
    folder, port, main_thread = tmp_path / "new" / "mails", free_port(), threading.main_thread().ident
    folder.mkdir(parents=True)
    (folder / "0001.eml").write_text("of yesterday")

    def rehearse() -> None:
        until(lambda: listens(port))
        send(port, "reception@clinic.example", "it@clinic.example")
        send(port, "bell\x07@clinic.example")
        signal.pthread_kill(main_thread, signal.SIGTERM)

    rehearsing = threading.Thread(target=rehearse)
    rehearsing.start()
    done = CliRunner().invoke(main, ["mailbox", str(folder), "--port", str(port)])
    rehearsing.join()

    assert (done.exit_code, done.stderr) == (0, "stopped\n")
    assert done.stdout.splitlines() == [
        f"listening on 127.0.0.1:{port}, mails are kept in {folder}",
        f"{folder}/0002.eml to reception@clinic.example, it@clinic.example",
        f"{folder}/0003.eml to bell?@clinic.example",
    ]
    assert (folder / "0001.eml").read_text() == "of yesterday"
    assert (folder / "0002.eml").read_bytes() == MAIL.encode()
    assert stat.S_IMODE((folder / "0002.eml").stat().st_mode) == 0o600
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not listens(port)


def test_a_port_that_somebody_has_is_a_line(tmp_path):
    """And so is a folder that cannot be one."""
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["mailbox", str(tmp_path), "--port", str(port)])
    below = CliRunner().invoke(main, ["mailbox", str(tmp_path / "file" / "mails")])

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: 127.0.0.1:{port}: Address already in use; name another port with --port, and in bridge.yaml\n"
    )
    assert (below.exit_code, below.stderr) == (1, f"Error: {tmp_path}/file/mails: Not a directory\n")


def test_a_mail_that_cannot_be_kept_is_refused_for_now(tmp_path, monkeypatch):
    """The bridge sends it again; half a file would be taken for a mail."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    told = []
    catcher = MailCatcher(tmp_path, told=lambda *each: told.append(each))
    with monkeypatch.context() as patched, smtplib.SMTP("127.0.0.1", catcher.port) as client:
        patched.setattr(os, "fdopen", full)
        client.mail("a@clinic.example")
        client.rcpt("b@clinic.example")
        refused = client.data(MAIL)
    assert (refused, list(tmp_path.iterdir()), told) == ((451, b"4.3.0 it cannot be kept"), [], [])
    send(catcher.port, "b@clinic.example")
    catcher.close()

    assert told == [(tmp_path / "0001.eml", ("b@clinic.example",))]
