"""What the tests of the EHR plugin share: real FHIR servers and validators, one of each for a whole run."""

import fhir_peers
import pytest


@pytest.fixture(scope="session")
def sekmet_server(tmp_path_factory):
    """SEKMET, started once; tests take `sekmet`."""
    with fhir_peers.sekmet(tmp_path_factory.mktemp("sekmet")) as peer:
        yield peer


@pytest.fixture(scope="session")
def medplum_server(tmp_path_factory):
    """Medplum's router, started once; tests take `medplum`."""
    with fhir_peers.medplum(tmp_path_factory.mktemp("medplum")) as peer:
        yield peer


@pytest.fixture(scope="session")
def batch_server(tmp_path_factory):
    """Medplum's router that takes transactions for batches, started once; tests take `batch_like`."""
    with fhir_peers.medplum(tmp_path_factory.mktemp("batch"), transactions=False) as peer:
        yield peer


@pytest.fixture
def sekmet(sekmet_server):
    """SEKMET: empty, well, and open to everybody."""
    sekmet_server.begin_anew()
    sekmet_server.let_in("none")
    return sekmet_server


@pytest.fixture
def medplum(medplum_server):
    """Medplum's router: empty and well."""
    medplum_server.begin_anew()
    return medplum_server


@pytest.fixture
def batch_like(batch_server):
    """A server that runs a transaction as a batch and answers 200: empty and well."""
    batch_server.begin_anew()
    return batch_server


@pytest.fixture(params=["sekmet", "medplum"])
def fhir_server(request):
    """Each of the two servers that know transactions: empty and well."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def validators(tmp_path_factory):
    """All validators, started once."""
    with fhir_peers.validators(tmp_path_factory.mktemp("validators")) as found:
        yield found
