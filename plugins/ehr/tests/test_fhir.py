"""Results in real FHIR servers: once, whatever happens on the way, and what was sent as it was sent."""

from contextlib import ExitStack

import pytest
from ehr_plugin import GLYCANAGE, PATIENT, deliver, ehr

TYPES = ("DiagnosticReport", "Observation")


@pytest.fixture
def make(tmp_path):
    """The plugin for a server's URL; the same folder each time, as after a restart."""
    with ExitStack() as stack:
        yield lambda peer, **settings: stack.enter_context(ehr(peer.url, tmp_path, **settings))


@pytest.fixture
def patient(fhir_server):
    """The EHR's patient whose report it is."""
    return fhir_server.patient(GLYCANAGE, PATIENT)


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_report_is_one_report_and_two_observations_of_the_right_patient(make, fhir_server, patient, mode):
    """What the whole plugin is for, in each way of writing."""
    receipt = deliver(make(fhir_server, mode=mode))

    (report,), observations = fhir_server.every("DiagnosticReport"), fhir_server.every("Observation")
    references = {f"Observation/{each['id']}" for each in observations}
    assert receipt == f"DiagnosticReport/{report['id']}"
    assert len(observations) == 2
    assert {each["reference"] for each in report["result"]} == references
    assert {each["subject"]["reference"] for each in [report, *observations]} == {f"Patient/{patient['id']}"}
