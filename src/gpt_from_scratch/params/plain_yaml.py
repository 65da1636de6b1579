"""YAML as a parameter file needs it: mappings, lists and plain values, each written where it stands."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from gpt_from_scratch.errors import InputError, reason, shown


class _PlainLoader(yaml.SafeLoader):
    """Builds nothing but plain values, without what lets a small text stand for a large or doubtful content."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _problem("expected every value where it stands, found an anchor or alias", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _problem(f"expected plain values, found the tag {shown(event.tag)}", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        content = super().construct_mapping(node, deep=deep)
        if len(content) < len(node.value):
            raise _problem("expected every key once, found one again in the mapping", node.start_mark)
        return content


def _problem(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    place = yaml.Mark(mark.name, 0, mark.line, mark.column, None, None)  # without the line itself, however long
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place)


def parse_yaml(text: str, source: object) -> Any:
    """Parse YAML that holds plain values only.

    Args:
        source: what the text is called in an error.

    Raises:
        InputError: when it is not YAML, or uses anchors, tags, one key twice or very deep nesting.
    """
    try:
        return _PlainLoader(text).get_single_data()
    except RecursionError:
        raise InputError(f"{source}: not usable YAML: lists or mappings are nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # PyYAML lets through what int(), float() and datetime() raise for a scalar that only looks like theirs.
        raise InputError(f"{source}: not valid YAML: {reason(error)}") from None
