"""Reads a DMS file into its rules; all that can be seen to be wrong without the schema is noted, by rule-id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from whimbrel.dms.fields import Fields, Said, shown
from whimbrel.dms.objects import object_mapping
from whimbrel.dms.read_rule import not_needed, selection, settings, transformation
from whimbrel.dms.rules import DmsRules, ObjectMapping, Selection, Transformation
from whimbrel.dms.text import parse
from whimbrel.errors import ProjectError

READERS = {
    "selection": selection,
    "transformation": transformation,
    "object-mapping": object_mapping,
    "table-settings": settings,
    "validation": not_needed,
    "post-processing": not_needed,
}


def load_rules(path: Path) -> DmsRules:
    """Raises ProjectError if the file cannot be read as a list of rules; other faults go to ``Rules.faults``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProjectError(
            f"the DMS rules cannot be read: {reason}", place=str(path), hint="Name a file with --dms."
        ) from None
    return read_rules(text, str(path))


def read_rules(text: str, place: str = "DMS rules") -> DmsRules:
    """The rules in ``text``, and all faults that can be seen without the schema. Raises ProjectError for no rules."""
    notes: list[str] = []
    document, faults = parse(text, notes)
    if document is None:
        raise faulty(faults, place)
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise faulty([*faults, 'must be an object with a list: {"rules": [ … ]}'], place)
    faults += [f"{shown(key)} is an unknown key beside rules" for key in document if key != "rules"]
    said = Said(faults, notes)
    seen: set[tuple[str, str]] = set()
    rules = [_rule(number, entry, said, seen) for number, entry in enumerate(document["rules"], 1)]
    selections = tuple(rule for rule in rules if isinstance(rule, Selection))
    if not selections and not any("rule-type" in fault for fault in faults):
        faults.append("there is no selection rule, and DMS moves nothing without one")
    return DmsRules(
        place,
        selections,
        tuple(sorted((rule for rule in rules if isinstance(rule, Transformation)), key=lambda rule: rule.order)),
        tuple(rule for rule in rules if isinstance(rule, ObjectMapping)),
        tuple(said.notes),
        tuple(dict.fromkeys(faults)),
    )


def faulty(faults: Iterable[str], place: str) -> ProjectError:
    """All ``faults`` of the file as one error; each once."""
    listed = "\n  ".join(dict.fromkeys(faults))
    return ProjectError(f"\n  {listed}", place=place, hint="\nFix these in the DMS file, then run the command again.")


def _rule(
    number: int, entry: Any, said: Said, seen: set[tuple[str, str]]
) -> Selection | Transformation | ObjectMapping | None:
    """None for a rule that has no part in the migration, or that is none."""
    noted = len(said.faults)
    if not isinstance(entry, dict):
        said.faults.append(f"rule number {number} of the file: must be an object, not {shown(entry)}")
        return None
    fields = Fields(entry, f"rule number {number} of the file", said)
    identity = fields.string("rule-id", required=True)
    if identity:
        fields.place = f"rule {identity}"
    if identity and not (identity.isascii() and identity.isdigit() and len(identity) < 40):
        fields.fault("rule-id", "must be a number: where two rules meet, the lower one wins")
        identity = ""
    name = fields.string("rule-name", required=True)
    kind = fields.one_of("rule-type", tuple(READERS))
    if entry.get("rule-type") != kind:
        return None
    if identity and (kind, identity) in seen:  # between types they may: the guide's own examples do
        fields.fault("rule-id", f"is used by two {kind} rules")
    seen.add((kind, identity))
    rule = READERS[kind](fields, identity or "0", name)
    fields.finish()
    return rule if rule is None or len(said.faults) == noted else replace(rule, sound=False)
