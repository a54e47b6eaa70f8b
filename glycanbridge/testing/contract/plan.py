"""What an author says of a plugin to the contract suite, and what one of its tests has in hands."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from pydantic import BaseModel

from glycanbridge.delivery import Delivery
from glycanbridge.errors import DeliveryError
from glycanbridge.testing.attempts import Attempted, deliver
from glycanbridge.testing.contract.watching import Capture, Heard, Needles, listen, secrets_in
from glycanbridge.testing.opening import make_plugin, plugin_settings
from glycanbridge.testing.samples import sample_delivery

T = TypeVar("T")
Source = Mapping[str, object] | Callable[..., Mapping[str, object]]
"""Settings as they stand in `bridge.yaml`, or a function of `peer` and `folder`, or of one of them, that makes them."""


class Taken(Protocol):
    """Something that a far side was given: an HTTP request, a mail."""

    @property
    def key(self) -> object:
        """What must be equal for it to be the same once more."""

    @property
    def whole(self) -> bytes:
        """All of it."""


class FarSide(Protocol):
    """What the suite needs of a peer; `HttpPeer` and `SmtpPeer` have it."""

    connections: int

    @property
    def taken(self) -> Sequence[Any]:
        """What it was given."""

    def be_well(self) -> None:
        """Take everything."""

    def close(self) -> None:
        """Be there no longer."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A way in which deliveries fail."""

    name: str
    """As the end of a test's name."""
    begin: Callable[[Any], None] = lambda _peer: None
    """Puts a peer into it."""
    source: Source | None = None
    """Settings with which deliveries fail."""
    slow: bool = False
    """It takes the plugin's own timeout to notice."""
    breaks: bool = False
    """The connection breaks, so that nobody knows what became of the delivery."""
    status: int | None = None
    """The HTTP status of its answers, if that is all."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the author of a plugin says of it."""

    plugin: type
    settings: Source
    peer: Callable[[], FarSide] | None
    secrets: tuple[str, ...]
    bodies: tuple[bytes, ...]
    """One event of each type, the most personal one last."""
    statuses: Mapping[int, tuple[type[DeliveryError], ...]]
    troubles: tuple[Trouble, ...]
    harmless: Callable[[Any], bool]
    repeat_key: Callable[[Any], object] | None
    check_asks: bool
    threads: int
    within_s: float


@dataclass
class Case:
    """What one test of the suite has in hands: a peer that is well, a folder, and what has been heard."""

    plan: Plan
    folder: Path
    capture: Capture
    peer: Any = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _made: int = 0

    @classmethod
    @contextmanager
    def open(cls, plan: Plan, folder: Path, capture: Capture) -> Iterator[Case]:
        """A case, of which nothing is left afterwards."""
        with ExitStack() as stack:
            case = cls(plan, folder, capture, _stack=stack)
            if plan.peer is not None:
                case.peer = plan.peer()
                stack.callback(case.peer.close)
            yield case

    def told(self, folder: Path, source: Source | None = None) -> dict[str, object]:
        """The settings as they stand in `bridge.yaml`."""
        settings = self.plan.settings if source is None else source
        if not callable(settings):
            return dict(settings)
        known = {"folder": folder} if self.peer is None else {"folder": folder, "peer": self.peer}
        return dict(settings(**{name: known[name] for name in inspect.signature(settings).parameters if name in known}))

    def model(self) -> BaseModel:
        """The settings, checked."""
        folder = self.new_folder()
        return plugin_settings(self.plan.plugin, self.told(folder), folder=folder)

    def make(self, source: Source | None = None) -> Any:
        """A new instance, which knows nothing of any other; closed in the end."""
        return self._stack.enter_context(self._made_of(source))

    def in_time(self, act: Callable[[Any], T], source: Source | None = None) -> T:
        """What is done with a new instance, in a thread of its own; it must come to its end within `within_s`."""
        ended: list[T] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                with self._made_of(source) as plugin:
                    ended.append(act(plugin))
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.plan.within_s)
        if thread.is_alive():
            if self.peer is not None:
                self.peer.close()  # then it ends, if anything of it can
            thread.join(self.plan.within_s)
            within = f"{self.plan.within_s:g} s"
            fail(f"it took longer than {within}: give the plugin a timeout of its own, a short one in this test")
        for error in raised:
            raise error
        return ended[0]

    @contextmanager
    def _made_of(self, source: Source | None) -> Iterator[Any]:
        folder = self.new_folder()
        plugin = make_plugin(self.plan.plugin, self.told(folder, source), folder=folder)
        try:
            yield plugin
        finally:
            if hasattr(plugin, "close"):
                plugin.close()

    def new_folder(self) -> Path:
        """A folder in which there is nothing."""
        self._made += 1
        folder = self.folder / f"bridge-{self._made}"
        folder.mkdir()
        return folder

    def deliveries(self) -> list[Delivery]:
        """A delivery of each event."""
        return [sample_delivery(each) for each in self.plan.bodies]

    def delivered(self, plugin: object, delivery: Delivery) -> Attempted:
        """An attempt that must succeed."""
        outcome = deliver(plugin, delivery)
        if not outcome.delivered:
            raise AssertionError(
                f"{delivery.event_type}, attempt {delivery.attempt}, was not delivered, and nothing was in its way: "
                f"{outcome}"
            ) from outcome.raised
        return outcome

    def sent(self, plugin: object, delivery: Delivery) -> list[Any]:
        """What the far side was given of a delivery; what is harmless is left out."""
        before = len(self.peer.taken)
        self.delivered(plugin, delivery)
        return [each for each in self.peer.taken[before:] if not self.plan.harmless(each)]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """Hears everything that is logged or printed meanwhile."""
        with listen(self.capture) as heard:
            yield heard

    def secrets(self) -> Needles:
        """Every secret in the settings, and those that the author has named."""
        named = {f"secrets[{number}]": each for number, each in enumerate(self.plan.secrets)}
        return Needles(secrets_in(self.model()) | named)


def again(delivery: Delivery) -> Delivery:
    """The next attempt at a delivery."""
    return replace(delivery, attempt=delivery.attempt + 1)


def fail(why: str) -> NoReturn:
    """End a test: the plugin does not keep the contract."""
    __tracebackhide__ = True
    raise AssertionError(why)
