"""Columns of a Feather file (Arrow IPC, https://arrow.apache.org/docs/format/Columnar.html).

The number of rows and the types are read first, and held against what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from infer.readers.refusal import unreadable
from mesh.core.errors import ContentRefused

MAX_FILE_BYTES = 256 << 20
INSTALL = "Install what reads it, `pip install 'framemesh[readers]'`."

Columns: TypeAlias = dict[str, np.ndarray[Any, Any]]


def read_columns(path: Path, kinds: Mapping[str, str], most_rows: int) -> Columns:
    """The named columns, each as an array of the NumPy kind it must have ("f", "iu", "U").

    Raises ContentRefused if the file cannot be read, has more rows, a column of another kind, a
    missing one, or missing values.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  an extra
        import pyarrow.dataset as ds  # noqa: PLC0415
    except ImportError as problem:
        raise ContentRefused(what=f"{path} is not read", why=str(problem), fix=INSTALL) from problem
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise unreadable(path, f"it has more than {MAX_FILE_BYTES >> 20} MiB")
        table = ds.dataset(str(path), format="feather")
        if (rows := table.count_rows()) > most_rows:
            raise unreadable(path, f"it has {rows} rows, and at most {most_rows} are read")
        if missing := set(kinds) - set(table.schema.names):
            raise unreadable(path, f"it has no column {', '.join(sorted(missing))}")
        read = table.to_table(columns=list(kinds))
    except (OSError, pa.ArrowException) as problem:
        raise unreadable(path, str(problem)) from problem
    return {name: _array(path, name, read[name], kind) for name, kind in kinds.items()}


def _array(path: Path, name: str, column: Any, kind: str) -> np.ndarray[Any, Any]:
    if column.null_count:
        raise unreadable(path, f"its column {name} has missing values")
    array: np.ndarray[Any, Any] = column.to_numpy()
    if kind == "U" and array.dtype == object and all(isinstance(text, str) for text in array):
        array = array.astype(str)
    if array.dtype.kind not in kind:
        raise unreadable(path, f"its column {name} is of {array.dtype}")
    return array
