"""What every test of the CSV plugin may ask for."""

import os
import sys
from pathlib import Path

import pytest
from glycanbridge_csv import Csv, CsvSettings

sys.path.insert(0, str(Path(__file__).parent))  # for `csv_files`, here and in processes that tests start


@pytest.fixture
def make(tmp_path):
    """A new instance for the same directory, as after a restart."""
    return lambda **settings: Csv(CsvSettings(directory=tmp_path, **settings))


@pytest.fixture
def without_syncs(monkeypatch):
    """For tests that write thousands of rows and are not about the disk: where that is busy they would take minutes."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
