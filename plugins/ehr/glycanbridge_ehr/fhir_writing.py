"""Writes a result to a FHIR server: a repeat makes no second one, and what only looks like a success is none.

All at once where the server can, else one resource after another, each under its key. What was there before is
compared: a conditional create answers "fine" and keeps an old value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from glycanbridge import DestinationError, PermanentError, TemporaryError
from glycanbridge_ehr import fhir_json
from glycanbridge_ehr.fhir import Part, Resource, Telling, transaction, with_ids
from glycanbridge_ehr.fhir_abilities import WRITTEN, Abilities, Mode, abilities_in
from glycanbridge_ehr.fhir_answers import Answer, entries_of, evidence, failure, worst
from glycanbridge_ehr.fhir_found import (
    WITHDRAWN,
    difference,
    has_file,
    is_later,
    is_whole,
    matches,
    patient_of,
    reference_in,
    same_patient,
    the_one,
)
from glycanbridge_ehr.fhir_server import Server
from glycanbridge_ehr.settings_fhir import FhirSettings
from glycanbridge_ehr.ways import PatientUnknown

Parts = Callable[[Telling], list[Part]]
"""The resources of a result, as what it is told."""
_AGAIN_S = 10


class _NotAtOnce(Exception):
    """The server has run a transaction as a batch (some of it may be there, some not), or lets the bridge make none."""


class Writer:
    """Writes results to one server."""

    def __init__(self, server: Server, settings: FhirSettings) -> None:
        self._server = server
        self._settings = settings
        self._abilities: Abilities | None = None

    def write(self, parts: Parts, telling: Telling) -> str:
        """Write a result; return the server's name for it, such as `DiagnosticReport/12`."""
        able = self.abilities()
        if self.mode() == "transaction" and (able.conditional_update or telling is Telling.FIRST):
            try:
                return self._at_once(parts, telling)
            except _NotAtOnce:
                self._abilities = replace(able, transaction=False)
        self._refuse_conditional_patients()
        return self._in_turn(parts, telling)

    def mode(self) -> Mode:
        """How results are written: as the settings say, else as the server can."""
        return self.abilities().mode if self._settings.mode == "auto" else self._settings.mode

    def abilities(self) -> Abilities:
        """What the server can; it is asked once, and not at all where the settings say how to write."""
        mode = self._settings.mode
        if mode != "auto":
            able = mode != "search"
            return Abilities(transaction=mode == "transaction", conditional_create=able, conditional_update=able)
        if self._abilities is None:
            self._abilities = self.ask()
        return self._abilities

    def ask(self) -> Abilities:
        """What the server says now that it can."""
        answer = self._server.get("metadata")
        if not answer.ok:
            raise failure(answer, doing="reading its metadata")
        return abilities_in(answer.resource, types=WRITTEN[self._settings.send_as])

    def forget(self) -> None:
        """Ask the server anew next time: it may have been mended."""
        self._abilities = None

    def _at_once(self, parts: Parts, telling: Telling) -> str:
        """All resources in one transaction."""
        update = telling is not Telling.FIRST
        if update and (self._settings.verify or self._settings.patient == "conditional"):
            self._find(parts(telling)[-1])  # a correction must not carry a result from one chart into another
        entries = self._transact(parts(telling), update=update)
        if not update and any(each.status != 201 for each in entries):
            needed = self._difference(parts(telling))
            if needed is not None and not self.abilities().conditional_update:
                self._refuse_conditional_patients()
                return self._in_turn(parts, needed)
            if needed is not None:
                entries = self._transact(parts(needed), update=True)
        report = parts(telling)[-1]
        looks = self._settings.verify or self._settings.patient == "conditional"
        if looks and not is_whole(self._there(report)):
            return self._in_turn(parts, telling)
        return reference_in(entries[-1].location) or report.type

    def _transact(self, parts: list[Part], *, update: bool) -> list[Answer]:
        """The answers to a transaction's entries, all of which are good."""
        answer = self._server.send("POST", "", fhir_json.written(transaction(parts, update=update)))
        if answer.status == 404 and self._settings.patient == "conditional" and evidence(answer.body):
            raise PatientUnknown("the EHR has no patient with this identifier")
        if answer.status == 403 and self._settings.mode == "auto":
            raise _NotAtOnce  # rights to write these types may not be rights to write Bundles
        if not answer.ok:
            raise failure(answer, doing="writing the result")
        bundle = answer.resource
        entries = entries_of(bundle)
        if bundle.get("type") == "batch-response" and self._settings.mode == "auto":
            raise _NotAtOnce
        bad = worst(entries)
        if bad is not None:
            raise failure(bad, doing="writing a part of the result, though the server said that all was well")
        if bundle.get("type") != "transaction-response":
            raise DestinationError("the server does not run transactions as such; set mode to sequential")
        if len(entries) != len(parts):
            raise TemporaryError(f"the server answered {len(entries)} of {len(parts)} entries", retry_after_s=_AGAIN_S)
        return entries

    def _difference(self, parts: list[Part]) -> Telling | None:
        """As what ours must be told, for something else stands under the keys already, and it is no later result."""
        references: dict[str, str] = {}
        needed = set()
        for part in parts:
            found = self._there(part)
            references[part.full_url] = f"{part.type}/{found['id']}"
            if not is_later(found, part):
                needed.add(difference(found, with_ids(part, references)))
        return next((each for each in (Telling.CORRECTION, Telling.AMENDMENT) if each in needed), None)

    def _in_turn(self, parts: Parts, telling: Telling) -> str:
        """One resource after another; the report, which refers to the others, last."""
        references: dict[str, str] = {}
        report = ""
        for tellings in zip(*(parts(each) for each in Telling), strict=True):
            own = {name: with_ids(part, references) for name, part in zip(Telling, tellings, strict=True)}
            report = self._one(own, telling)
            references[own[telling].full_url] = report
        return report

    def _one(self, tellings: Mapping[Telling, Part], telling: Telling) -> str:
        """Make a resource, or put it right. Returns its reference."""
        part = tellings[telling]
        conditionally = self.abilities().conditional_create
        if conditionally and telling is Telling.FIRST:
            answer = self._write("POST", part.type, part.resource, **{"If-None-Exist": part.query})
            if answer.status == 201:
                return self._made(part, answer)
        found = self._find(part)
        if found is None:
            headers = {"If-None-Exist": part.query} if conditionally else {}
            return self._made(part, self._write("POST", part.type, part.resource, **headers))
        reference = f"{part.type}/{found['id']}"
        is_news = telling is Telling.CORRECTION or (telling is Telling.AMENDMENT and has_file(part))
        needed = telling if is_news else difference(found, part)
        if needed is not None and not is_later(found, part):
            self._write("PUT", reference, {"id": found["id"], **tellings[needed].resource})
            if self._settings.verify:
                self._there(tellings[needed])
        return reference

    def _made(self, part: Part, answer: Answer) -> str:
        """The reference of what was made, once it is seen."""
        reference = reference_in(answer.location)
        if reference is None or self._settings.verify:
            return f"{part.type}/{self._there(part)['id']}"
        return reference

    def _write(self, method: str, path: str, resource: Resource, **headers: str) -> Answer:
        answer = self._server.send(method, path, fhir_json.written(resource), **headers)
        if not answer.ok:
            raise failure(answer, doing=f"writing the {resource['resourceType']}")
        return answer

    def _there(self, part: Part) -> Resource:
        """What stands under a key. Raises `TemporaryError` if nothing does, although the server said so."""
        found = self._find(part)
        if found is None:
            said = f"the server said that the {part.type} is there, and it is not; it is sent again"
            raise TemporaryError(said, retry_after_s=_AGAIN_S)
        return found

    def _find(self, part: Part) -> Resource | None:
        answer = self._server.search(part.type, part.query)
        if not answer.ok:
            raise failure(answer, doing=f"looking for the {part.type}")
        found = the_one(answer.resource, part.type, system=part.system, value=part.value)
        if found is None:
            return None
        if "?" in (patient_of(found) or ""):
            raise DestinationError("the server keeps a conditional reference as it is; set patient to search")
        if str(found.get("status")) in WITHDRAWN:
            raise PermanentError(
                f"somebody has withdrawn the {part.type} in the EHR: a person must decide what is right"
            )
        if not self._is_of_ours(found, part):
            raise PermanentError("the EHR has this result of another patient: a person must look at both")
        return found

    def _is_of_ours(self, found: Resource, part: Part) -> bool:
        """Is what the EHR has about the patient whom we mean? A conditional reference must be looked up for that."""
        subject, ours = patient_of(found), str(part.resource["subject"]["reference"])
        if subject is None or "?" not in ours:
            return same_patient(found, part)
        answer = self._server.search("Patient", unquote(ours.partition("?")[2]))
        if not answer.ok:
            raise failure(answer, doing="looking for the patient")
        return [f"Patient/{each.get('id')}" for each in matches(answer.resource, "Patient")] == [subject]

    def _refuse_conditional_patients(self) -> None:
        if self._settings.patient == "conditional":
            raise DestinationError(
                "patient: conditional needs transactions, which the server does not do for the bridge; set it to search"
            )
