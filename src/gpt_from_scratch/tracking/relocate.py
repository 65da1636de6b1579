"""Repair of the artifact paths after the project's folder was moved: `python -m gpt_from_scratch.tracking.relocate`.

A SQLite store keeps every run's artifact location as an absolute path. After a move MLflow finds nothing there and
gives no error.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.tracking.server import artifact_root, exclusive, experiment_name

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def mend(root: Path) -> int:
    """Update every artifact path in the project's database to the present folder.

    Returns:
        How many addresses were changed; 0 when nothing had moved.

    Raises:
        InputError: when there is no database, or the runs' files did not come along.
    """
    database, new = project_home(root) / "mlflow.db", artifact_root(root).as_uri()
    if not database.is_file():
        raise InputError(f"{database}: expected MLflow's database, found no such file")
    with exclusive(root, f"sqlite:///{database}"), closing(sqlite3.connect(database)) as connection, connection:
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (experiment_name(),)
        ).fetchone()
        if row is None or row[0] == new:
            return 0
        if not artifact_root(root).is_dir():
            raise InputError(f"{artifact_root(root)}: expected the runs' files from {row[0]}, found no such folder")
        # Compared by length and not with LIKE, to which _ and % are wildcards.
        return sum(
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (new, len(row[0]) + 1, row[0], len(row[0]) + 1, f"{row[0]}/"),
            ).rowcount
            for table, column in _ADDRESSES
        )


if __name__ == "__main__":
    try:
        print(f"{mend(Path.cwd())} addresses now point into {artifact_root(Path.cwd())}")
    except InputError as error:
        sys.exit(f"error: {error}")
