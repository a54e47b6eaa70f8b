"""What every plugin has promised, held against the EHR plugin: by FHIR, and by files in a folder."""

import json

from ehr_plugin import NOBODY, PRACTICE
from glycanbridge_ehr import Ehr

from glycanbridge.testing import Answer, HttpPeer, contract_suite

STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [
        {
            "mode": "server",
            "interaction": [{"code": "transaction"}],
            "resource": [
                {
                    "type": each,
                    "conditionalCreate": True,
                    "conditionalUpdate": True,
                    "interaction": [{"code": "create"}],
                }
                for each in ("Observation", "DiagnosticReport")
            ],
        }
    ],
}


def as_fhir_server(request):
    """Says what it can, finds nothing, and takes every transaction."""
    if request.method == "GET":
        found = STATEMENT if request.path == "/fhir/metadata" else {"resourceType": "Bundle", "type": "searchset"}
        return Answer(200, json.dumps(found), {"Content-Type": "application/fhir+json"})
    made = [
        {"response": {"status": "201 Created", "location": f"{each['resource']['resourceType']}/{number}/_history/1"}}
        for number, each in enumerate(request.json["entry"])
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction-response", "entry": made}
    return Answer(200, json.dumps(bundle), {"Content-Type": "application/fhir+json"})


def shared(folder):
    """What all ways need: who is who."""
    (folder / "patients.csv").write_text("patient_id,ehr_id,family\npatient_123,4711,Horvat\n")
    return {"practices": [PRACTICE], "patients": "patients.csv", "report": "attach"}


def by_fhir(peer, folder):
    """A server that wants a token, and runs transactions."""
    NOBODY.cert_pem.write_to_path(str(folder / "ca.pem"))
    fhir = {"url": f"{peer.url}/fhir", "verify": False, "auth": {"bearer": "correct-horse-4711"}, "ca_file": "ca.pem"}
    return shared(folder) | {"fhir": fhir | {"connect_timeout_s": 2, "read_timeout_s": 1}}


def by_files(folder, name="inbox"):
    """A folder that an interface engine empties."""
    (folder / "inbox").mkdir()
    return shared(folder) | {"drop": {"directory": name}}


TestFhir = contract_suite(Ehr, by_fhir, peer=lambda: HttpPeer(as_fhir_server))

TestDrop = contract_suite(Ehr, by_files, failing={"the share is away": lambda folder: by_files(folder, "away")})
