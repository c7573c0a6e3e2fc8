"""The command line as a whole: every verb can be reached."""

from collections import Counter
from collections.abc import Iterator

import typer

from orchestration.cli import app


def names_by_group(group: typer.Typer, path: str = "opsgraph") -> Iterator[tuple[str, list[str]]]:
    """Each group's path with the names of its verbs and groups, as they were registered."""
    own = [str(verb.name or getattr(verb.callback, "__name__", "")) for verb in group.registered_commands]
    below = [str(item.name) for item in group.registered_groups]
    yield path, own + below
    for item in group.registered_groups:
        if item.typer_instance is not None:
            yield from names_by_group(item.typer_instance, f"{path} {item.name}")


def test_no_name_is_taken_twice() -> None:
    """Forbids a group of verbs that another one of the same name hides without a word."""
    taken_twice = {
        f"{path} {name}"
        for path, names in names_by_group(app)
        for name, times in Counter(names).items()
        if times > 1
    }

    assert taken_twice == set()
