"""The README as it is read: its example runs, and its tables say what there is."""

import os
import re
from pathlib import Path

import pytest
from ehr_plugin import GLYCANAGE, PATIENT
from glycanbridge_ehr import EhrSettings
from glycanbridge_ehr.settings_fhir import AuthSettings, Codings, FhirSettings, Systems
from glycanbridge_ehr.settings_smart import SmartSettings
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML
from serving import SECRET, Serving, sample, served, until
from smart_site import KEYS, pem, public_pem

README = (Path(__file__).parents[1] / "README.md").read_text()
MODELS = {
    "": EhrSettings,
    "fhir": FhirSettings,
    "fhir.auth": AuthSettings,
    "fhir.auth.smart": SmartSettings,
    "fhir.systems": Systems,
    "fhir.coding": Codings,
}


def settings_tables():
    """By heading: the rows of each table of settings, as cells."""
    section = README.partition("\n## Settings\n")[2].partition("\n## ")[0]
    tables, heading = {"": []}, ""
    for line in section.splitlines():
        if found := re.fullmatch(r"### `(.*)`", line):
            heading = found[1]
            tables[heading] = []
        elif line.startswith("| `"):
            tables[heading].append(re.split(r"\s*\|\s*", line.strip()[1:-1].strip()))
    return tables


def shown(default):
    """A default as the table shows it: nothing where there is none, or where a model of its own says."""
    if default is None or default is PydanticUndefined or default == () or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, int | float) else f"`{default}`"


@pytest.mark.parametrize("heading", MODELS)
def test_the_table_of_settings_is_the_model(heading):
    """Names, what must be given, what is secret, defaults."""
    expected = [
        [
            f"`{name}`",
            "yes" if field.is_required() else "no",
            "yes" if "SecretStr" in str(field.annotation) else "no",
            shown(field.default),
        ]
        for name, field in MODELS[heading].model_fields.items()
    ]
    assert sorted(cells[:4] for cells in settings_tables()[heading]) == sorted(expected)
    assert all(cells[4] for cells in settings_tables()[heading])


def test_every_table_of_settings_has_its_model():
    """A heading that no test looks at could say anything."""
    assert set(settings_tables()) == set(MODELS)


def test_the_example_runs_as_it_is_written(tmp_path, sekmet, monkeypatch):
    """Copied from the page, with a key that the EHR knows: a signed event becomes a result."""
    bridge = Serving(tmp_path)
    first = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    bridge.config.write_text(first)
    (tmp_path / "var" / "webhook-secret").write_text(SECRET)
    key = KEYS["ES384"]
    (tmp_path / "var" / "ehr-key.pem").write_bytes(pem(key))
    (tmp_path / "public.pem").write_bytes(public_pem(key))
    client = {"client_id": "glycanbridge", "public_key_path": str(tmp_path / "public.pem")}
    sekmet.let_in("smart", smart_clients=[client])
    sekmet.patient(GLYCANAGE, PATIENT)
    monkeypatch.setenv("EHR_URL", sekmet.url)
    monkeypatch.setenv("BRIDGE_LISTEN", "127.0.0.1:0")

    done = bridge.run("check", "--online")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "patients by search" in done.stdout
    with served(bridge):
        assert bridge.post(sample()).status == 200

        until(lambda: sekmet.count("DiagnosticReport", "Observation") == (1, 2))
        until(lambda: [each["state"] for each in bridge.rows("deliveries", "list")] == ["delivered"])


def test_the_example_with_a_file_of_patients_is_settings_too():
    """As far as the page shows it."""
    second = YAML(typ="safe").load(
        re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[1].replace("${env:EHR_URL}", "http://127.0.0.1/fhir")
    )
    rows = re.search(r"```\n(patient_id,ehr_id\n.*?)```", README, re.DOTALL)[1]
    settings = EhrSettings.model_validate({"practices": ["practice_67890"], **second})
    assert settings.patients == Path("var/patients.csv") or os.fspath(settings.patients).endswith("var/patients.csv")
    assert rows.splitlines()[1] == "patient_123,4711"
