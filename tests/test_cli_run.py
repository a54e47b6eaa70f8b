"""`glycanbridge destinations run`: commands that a plugin has brought along."""

from __future__ import annotations

import pytest
from serving import install_plugin

COMMANDED = '''
import click
from pydantic import BaseModel

from glycanbridge import PermanentError, hookimpl


class Settings(BaseModel, extra="forbid"):
    greeting: str = "hello"
    mode: str = ""


class Commanded:
    Settings = Settings

    def __init__(self, settings):
        if settings.mode == "sour":
            raise KeyError("geheim")
        if settings.mode == "closed":
            raise PermanentError("the door is closed")
        self.settings = settings

    @hookimpl
    def on_report_ready(self): ...

    @hookimpl
    def commands(self):
        if self.settings.mode == "broken":
            raise KeyError("geheim")

        @click.command
        @click.argument("whom")
        @click.option("--loud", is_flag=True)
        def greet(whom, loud):
            """Say so."""
            if whom == "nobody":
                raise PermanentError("nobody is there")
            if whom == "patient":
                raise KeyError("geheim")
            told = f"{self.settings.greeting} {whom}"
            print(told.upper() if loud else told)

        return [greet]

    @hookimpl
    def close(self):
        print("closed")
'''


@pytest.fixture
def commanded(serving):
    """A destination whose plugin has a command, and one whose plugin has none."""
    install_plugin(serving.packages, "commanded", COMMANDED)

    def set_up(**settings) -> None:
        recorder = {"plugin": "recorder", "settings": {"file": "taken.txt"}}
        serving.configure({"door": {"plugin": "commanded", "settings": settings}, "plain": recorder})

    set_up()
    serving.set_up = set_up
    return serving


def test_a_plugins_command_is_run_with_its_destinations_settings(commanded):
    """With its own arguments and options; the plugin is closed afterwards."""
    commanded.set_up(greeting="good morning")

    done = commanded.run("destinations", "run", "door", "greet", "--loud", "clinic")

    assert (done.returncode, done.stdout) == (0, "GOOD MORNING CLINIC\nclosed\n"), done.stderr


def test_its_help_is_its_own(commanded):
    """Under the name that a user types."""
    done = commanded.run("destinations", "run", "door", "greet", "--help")

    assert done.returncode == 0
    assert "glycanbridge destinations run door greet [OPTIONS] WHOM" in done.stdout
    assert "--loud" in done.stdout


def test_a_command_that_is_called_wrongly_is_wrong_usage(commanded):
    """Exit code 2, as everywhere."""
    done = commanded.run("destinations", "run", "door", "greet")

    assert done.returncode == 2
    assert "Missing argument 'WHOM'" in done.stderr


@pytest.mark.parametrize(("name", "listed"), [("door", "greet  Say so.\nclosed\n"), ("plain", "")])
def test_without_a_command_they_are_listed(commanded, name, listed):
    """Also that there are none."""
    done = commanded.run("destinations", "run", name)

    assert (done.returncode, done.stdout) == (0, listed)
    assert f"{name}: {1 if listed else 0} commands of its plugin" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "error"),
    [
        (("nowhere", "greet"), {}, 2, "there is no destination 'nowhere'; `glycanbridge destinations` shows them"),
        (("door", "gret"), {}, 2, "'door' has no command 'gret'; it has: greet"),
        (("plain", "greet"), {}, 2, "'plain' has no command 'greet'; it has: none"),
        (("door", "greet", "x"), {"mode": "sour"}, 1, "door: its plugin cannot be made: KeyError at"),
        (("door", "greet", "x"), {"mode": "closed"}, 1, "door: its plugin cannot be made: the door is closed"),
        (("door", "greet", "nobody"), {}, 1, "destinations run door greet: nobody is there"),
        (("door", "greet", "patient"), {}, 1, "destinations run door greet: KeyError at"),
        (("door", "greet", "x"), {"mode": "broken"}, 1, "door: its plugin's commands() failed: KeyError at"),
        (("door", "greet", "x"), {"mode": 3}, 1, "settings.mode: expected text, got 3"),
    ],
)
def test_what_cannot_be_run_is_told(commanded, arguments, settings, code, error):
    """Without a traceback, and without what a plugin's error quotes."""
    commanded.set_up(**settings)

    done = commanded.run("destinations", "run", *arguments)

    assert done.returncode == code
    assert error in done.stderr
    assert "geheim" not in done.stderr
    assert "Traceback" not in done.stderr
