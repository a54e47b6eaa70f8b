"""What every plugin has promised, held against the CSV plugin."""

from glycanbridge_csv import Csv

from glycanbridge.testing import contract_suite


def a_file_in_its_place(folder):
    """Nothing can be written below a file."""
    (folder / "exports").write_text("")
    return {"directory": "exports"}


def a_share_that_is_away(folder):
    """Its marker is not there."""
    return {"directory": "exports", "marker": ".mounted"}


TestContract = contract_suite(
    Csv,
    {"directory": "exports"},
    failing={"the directory is a file": a_file_in_its_place, "the share is away": a_share_that_is_away},
)
