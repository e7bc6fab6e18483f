"""Results in the repository: one JSON file a study and world, from which every page is drawn without training."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from goldpanner.errors import InputError
from goldpanner.files import replacing
from goldpanner.store import Store
from goldpanner.store.argument import MissionRecord
from goldpanner.store.findings import FindingRecord, ResultRecord
from goldpanner.studies import claims
from goldpanner.studies.mission import Results, judge_sentences
from goldpanner.studies.runner import finding_of


def keep_results(store: Store, folder: Path) -> list[Path]:
    """Copy the results of all worlds from a store into a folder of results; return the files."""
    paths = []
    for row in store.records(ResultRecord).values():
        paths.append(folder / f"{row.id}.json")
        with replacing(paths[-1]) as scratch:
            scratch.write_text(json.dumps(_short(row.model_dump(mode="json"))) + "\n", encoding="utf-8")
    return paths


def _short(value: JsonValue) -> JsonValue:
    """Return JSON with numbers of five significant digits, which is more than any page shows."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def load_results(folder: Path) -> dict[str, list[ResultRecord]]:
    """Return the results in a folder by study, in the order of the studies and of their worlds.

    Raises InputError where there are none, or a file is not the result of a study.
    """
    rows = []
    for path in sorted(folder.glob("*.json")):
        try:
            rows.append(ResultRecord.model_validate_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise InputError(f"{path} is not the result of a study: {error}; restore it, or remove it") from None
    if not rows:
        raise InputError(f"{folder} holds no results; name the folder of a checkout (results), or run studies first")
    if strange := [row.study for row in rows if row.study not in claims.NAMES]:
        raise InputError(f"{folder} holds a result of {strange[0]!r}; there are only {', '.join(claims.NAMES)}")
    by_study = {name: _in_order([row for row in rows if row.study == name]) for name in claims.NAMES}
    return {name: chosen for name, chosen in by_study.items() if chosen}


def _in_order(rows: Sequence[ResultRecord]) -> list[ResultRecord]:
    return sorted(rows, key=lambda row: row.world)


def conclude_results(results: Results, command: str = "") -> tuple[MissionRecord, dict[str, FindingRecord]]:
    """Judge every study and every sentence from results alone."""
    findings = {name: finding_of(claims.load_study(name), rows) for name, rows in results.items()}
    return judge_sentences(results, findings, command), findings
