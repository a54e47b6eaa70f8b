"""Adds a row to a CSV file for every event it is given: one file for each event type and month, or as is set.

A row is on the disk before the bridge gets its receipt, and is there once however often a delivery is repeated.
Several lanes and processes may write to one directory. README.md lists settings, columns and failures.

| module | what it is for |
|---|---|
| `plugin` | the hooks, and whose trouble an error is |
| `settings` | what may stand in `bridge.yaml` |
| `columns` | which columns a file has: there are, were chosen, may be told |
| `rows` | an event as rows of values |
| `cells` | a value as the text of a cell |
| `table` | rows as lines of a file, and back |
| `paths` | which file an event belongs into |
| `files` | adds lines to a file: locked, once, whole, on the disk |
"""

from glycanbridge_csv.cells import LONGEST_VALUE
from glycanbridge_csv.columns import COLUMNS
from glycanbridge_csv.plugin import Csv
from glycanbridge_csv.settings import CsvSettings

__all__ = ["COLUMNS", "LONGEST_VALUE", "Csv", "CsvSettings"]
