"""What an author says of a plugin to the contract suite, and what one of its tests has in hands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from pydantic import BaseModel

from glycanbridge.delivery import Delivery
from glycanbridge.errors import DeliveryError
from glycanbridge.testing.attempts import Attempted, deliver
from glycanbridge.testing.contract.patience import Patience
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
    destination: Mapping[str, object]
    """What stands beside the settings in `bridge.yaml`."""
    statuses: Mapping[int, tuple[type[DeliveryError], ...]]
    troubles: tuple[Trouble, ...]
    harmless: Callable[[Any], bool]
    repeat_key: Callable[[Any], object] | None
    redirects: tuple[int, ...]
    """The HTTP statuses of redirects that must not be followed."""
    check_asks: bool
    threads: int
    within_s: float


@dataclass
class Case:
    """What one test of the suite has in hands: a peer that is well, a folder, and what has been heard."""

    plan: Plan
    folder: Path
    capture: Capture
    patience: Patience
    peer: Any = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _ours: ExitStack = field(default_factory=ExitStack)
    _made: int = 0

    @classmethod
    def run(cls, check: Callable[[Case], None], plan: Plan, folder: Path, capture: Capture) -> None:
        """Run a check, of which nothing is left afterwards; no step of it may take longer than `within_s`.

        All that calls the plugin is done in one thread, which can be left behind: a plugin may hang wherever it likes,
        and one that takes no more threads than one is called by no other.
        """
        with ExitStack() as ours:  # what must be undone even if the plugin never comes back
            case = cls(plan, folder, capture, Patience(plan.within_s), _ours=ours)
            if plan.peer is not None:
                case.peer = plan.peer()
                ours.callback(case.peer.close)

            def act() -> None:
                with case._stack:
                    check(case)

            case.patience.run(act, give_up=case.peer.close if case.peer else _nothing)

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
        return plugin_settings(self.plan.plugin, self.told(folder), folder=folder, **self.plan.destination)

    def make(self, source: Source | None = None) -> Any:
        """A new instance, which knows nothing of any other; closed in the end."""
        return self._stack.enter_context(self._made_of(source))

    def with_new(self, act: Callable[[Any], T], source: Source | None = None) -> T:
        """What is done with a new instance, which is closed afterwards."""
        with self._made_of(source) as plugin:
            return act(plugin)

    @contextmanager
    def _made_of(self, source: Source | None) -> Iterator[Any]:
        folder = self.new_folder()
        self.patience.step()
        plugin = make_plugin(self.plan.plugin, self.told(folder, source), folder=folder, **self.plan.destination)
        try:
            self.patience.step()
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

    def attempted(self, plugin: object, delivery: Delivery) -> Attempted:
        """An attempt, however it ends."""
        self.patience.step()
        outcome = deliver(plugin, delivery)
        self.patience.step()
        return outcome

    def delivered(self, plugin: object, delivery: Delivery) -> Attempted:
        """An attempt that must succeed."""
        outcome = self.attempted(plugin, delivery)
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
        with ExitStack() as stack:
            heard = stack.enter_context(listen(self.capture))
            self._ours.callback(stack.close)  # else a plugin that hangs would leave every logger at its lowest level
            yield heard

    def secrets(self) -> Needles:
        """Every secret in the settings, and those that the author has named."""
        named = {f"secrets[{number}]": each for number, each in enumerate(self.plan.secrets)}
        return Needles(secrets_in(self.model()) | named)


def _nothing() -> None:
    pass


def again(delivery: Delivery) -> Delivery:
    """The next attempt at a delivery."""
    return replace(delivery, attempt=delivery.attempt + 1)


def fail(why: str) -> NoReturn:
    """End a test: the plugin does not keep the contract."""
    __tracebackhide__ = True
    raise AssertionError(why)
