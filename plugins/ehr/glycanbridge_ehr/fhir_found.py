"""What a search by an identifier found, read with distrust: servers ignore parameters that they do not know. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from glycanbridge import PermanentError, TemporaryError
from glycanbridge_ehr.fhir import NO_FILE, Part, Resource, Telling

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
WITHDRAWN = {"entered-in-error", "cancelled", "superseded"}
"""What people make of a result that is not to be read: no program undoes that."""
_REFERENCE = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/.*)?", re.DOTALL)


def matches(bundle: Resource, type_: str) -> list[Resource]:
    """The resources of a type that matched: no OperationOutcome, nothing that was only included."""
    if bundle.get("resourceType") != "Bundle" or not isinstance(bundle.get("entry", []), list):
        raise TemporaryError("the server answered a search with something else than a Bundle")
    found = []
    for entry in bundle.get("entry", []):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        search = entry.get("search") if isinstance(entry, dict) else None
        how = search.get("mode", "match") if isinstance(search, dict) else "match"
        if isinstance(resource, dict) and resource.get("resourceType") == type_ and how == "match":
            found.append(resource)
    return found


def the_one(bundle: Resource, type_: str, *, system: str, value: str) -> Resource | None:
    """The one resource with this identifier; `None` if there is none.

    Raises `PermanentError` if there are several, or one that does not carry the identifier.
    """
    found = matches(bundle, type_)
    if len(found) > 1:
        raise PermanentError(
            f"the EHR has several of type {type_} under this identifier: a person must look, then replay"
        )
    for each in found:
        if not _carries(each, system, value):
            said = f"the EHR was asked for a {type_} with an identifier, and found one without it"
            raise PermanentError(f"{said}: it does not search by identifier")
        if not isinstance(each.get("id"), str) or _ID.fullmatch(each["id"]) is None:
            raise PermanentError(f"the EHR found a {type_} without a FHIR id: nothing can refer to it")
        return each
    return None


def reference_in(location: str | None) -> str | None:
    """`Observation/12` in a server's location such as `https://.../Observation/12/_history/1`."""
    found = _REFERENCE.fullmatch(location or "")
    return found[1] if found else None


def patient_of(found: Resource) -> str | None:
    """The reference to the patient of a result; `None` if it has none."""
    return _reference(found.get("subject"))


def same_patient(found: Resource, part: Part) -> bool:
    """Is what the EHR has about the patient whom we mean? Yes, if it does not say."""
    subject, ours = patient_of(found), part.resource["subject"]["reference"]
    return subject is None or "?" in ours or subject == reference_in(ours)


def same_result(found: Resource, part: Part) -> bool:
    """Does what the EHR has say what we say?"""
    return _told(found) == _told(part.resource)


def difference(found: Resource, part: Part) -> Telling | None:
    """As what must be told what we say, for what the EHR has is not that; `None` if it is.

    A file that it has, and we could not get this time, stays where it is.
    """
    if not same_result(found, part):
        return Telling.CORRECTION
    return Telling.AMENDMENT if _lacks_our_file(found, part) else None


def has_file(part: Part) -> bool:
    """Does a report file go along?"""
    return bool(_pdfs(part.resource))


def is_whole(found: Resource) -> bool:
    """Does a report refer to its Observations as they are called now, not as in the Bundle that brought them?"""
    results = found.get("result")
    return not any(str(_reference(each)).startswith("urn:") for each in (results if isinstance(results, list) else []))


def is_later(found: Resource, part: Part) -> bool:
    """Is what the EHR has of a later time than ours?"""
    try:
        return _moment(found) > _moment(part.resource)
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def _moment(resource: Resource) -> datetime:
    return datetime.fromisoformat(str(resource.get("issued") or resource.get("date")))


def _told(resource: Resource) -> list[Any]:
    """What a result says: its number, or its sentence and its parts, or its document; not whether it has a file."""
    quantity = resource.get("valueQuantity")
    value = quantity.get("value") if isinstance(quantity, dict) else None
    conclusion, results = resource.get("conclusion"), resource.get("result")
    parts = [_reference(each) for each in results] if isinstance(results, list) else []
    return [
        Decimal(value) if isinstance(value, int | Decimal) else value,
        conclusion.removesuffix(NO_FILE) if isinstance(conclusion, str) else conclusion,
        parts,
        _document(resource),
    ]


def _document(resource: Resource) -> object:
    try:
        return resource["content"][0]["attachment"]["data"]
    except (KeyError, IndexError, TypeError):
        return None


def _lacks_our_file(found: Resource, part: Part) -> bool:
    """One of which the server tells an address and no bytes is taken for ours: large ones are kept elsewhere."""
    ours = [each.get("data") for each in _pdfs(part.resource)]
    there = _pdfs(found)
    return bool(ours) and not any(each.get("data", ours[0] if "url" in each else None) in ours for each in there)


def _pdfs(resource: Resource) -> list[dict[str, Any]]:
    """The attachments of a report or a document that are PDFs."""
    forms, contents = resource.get("presentedForm"), resource.get("content")
    found = list(forms) if isinstance(forms, list) else []
    for each in contents if isinstance(contents, list) else []:
        found.append(each.get("attachment") if isinstance(each, dict) else None)
    return [
        each for each in found if isinstance(each, dict) and str(each.get("contentType")).startswith("application/pdf")
    ]


def _reference(value: object) -> str | None:
    reference = value.get("reference") if isinstance(value, dict) else None
    return (reference_in(reference) or reference) if isinstance(reference, str) else None


def _carries(resource: Resource, system: str, value: str) -> bool:
    identifiers = resource.get("identifier")
    wanted = (system, value)
    return any(
        isinstance(each, dict) and (each.get("system"), each.get("value")) == wanted
        for each in (identifiers if isinstance(identifiers, list) else [])
    )
