"""What every migration must be, that a system in use may be changed by it."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddIndex, CreateModel, RemoveIndex
from django.db.migrations.loader import MigrationLoader

OURS = {"adminops", "billing", "organizations"}
BEFORE_ANYTHING_WAS_IN_USE = {
    ("billing", "0003_find_events_by_id"),
    ("organizations", "0004_finding_and_notes"),
}


def test_indexes_are_made_and_dropped_while_their_tables_are_in_use() -> None:
    """PostgreSQL lets nobody write while it makes an index, nor read while it drops one, unless told to."""
    locking = []
    for key, migration in MigrationLoader(None).disk_migrations.items():
        if key[0] not in OURS or key in BEFORE_ANYTHING_WAS_IN_USE:
            continue
        made_here = {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}
        for each in migration.operations:
            if not isinstance(each, AddIndex | RemoveIndex) or each.model_name.lower() in made_here:
                continue
            if not isinstance(each, AddIndexConcurrently | RemoveIndexConcurrently):
                locking.append((*key, each.describe()))
    assert locking == []
