"""A plugin that is one file beside `bridge.yaml`, without a package: a clinic's own twenty lines.

Whoever can change the file can read every result, so one that others could have written is not run.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from glycanbridge.errors import PluginError
from glycanbridge.hookspecs import GROUP

FILE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\.py")
"""What a plugin's file may be called; without its ending it is the plugin's name."""


def load_file(path: Path) -> type:
    """The class in a plugin's file: the only one there that has a hook.

    Raises `PluginError` if the file cannot be read, others may write to it, or it has no or several such classes; and
    whatever running it raises.
    """
    _check_name(path)
    module = ModuleType(f"glycanbridge_file_{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    code = compile(_read(path), str(path), "exec", dont_inherit=True)
    sys.modules[module.__name__] = module  # where pydantic looks for what annotations name
    exec(code, module.__dict__)  # noqa: S102 (that is what the file is for)
    named = {id(each): each for each in vars(module).values() if isinstance(each, type)}  # one may have two names
    plugins = [each for each in named.values() if each.__module__ == module.__name__ and _has_hook(each)]
    if len(plugins) != 1:
        found = f"several classes with a hook ({', '.join(each.__name__ for each in plugins)})" if plugins else "none"
        raise PluginError(f"{path}: expected one class with a hook such as on_report_ready, found {found}")
    return plugins[0]


def check_file(path: Path) -> None:
    """See that the file could be run, without running it. Raises `PluginError`."""
    _check_name(path)
    _read(path)


def _check_name(path: Path) -> None:
    if FILE_NAME.fullmatch(path.name) is None:
        raise PluginError(f"{path}: a plugin's file has a name of letters, digits, '_' and '-', and ends in .py")


def _has_hook(found: type) -> bool:
    """A connection of the clinic's own may have a `close` and be no plugin."""
    return any(name.startswith("on_") or hasattr(getattr(found, name, None), f"{GROUP}_impl") for name in dir(found))


def _read(path: Path) -> bytes:
    """What is in the file that was looked at, and not in one that has taken its place since."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode):
                raise PluginError(f"{path} is no file")
            _check_rights(path, told)
            for folder in {path.parent, path.resolve().parent}:  # where a link stands, and where it leads
                _check_rights(folder, folder.stat())
            return file.read()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    """A pipe would wait for somebody who writes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_rights(path: Path, told: os.stat_result) -> None:
    if sys.platform == "win32":  # there rights are lists that Python cannot read
        return
    if told.st_uid not in {0, os.geteuid()}:
        raise PluginError(
            f"{path} belongs to somebody else, who could change what is run: `chown` it to the bridge's user"
        )
    if stat.S_IMODE(told.st_mode) & 0o022:
        raise PluginError(f"{path} can be written by others, who could change what is run: `chmod go-w {path}`")
