"""The fixed words of the pages, in each language they are written in."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from goldpanner.errors import InputError

LANGUAGES = ("en", "zh")


@cache
def words(language: str = "en") -> Mapping[str, str]:
    """Return the fixed words by key. Raises InputError for a language that there is none of."""
    if language not in LANGUAGES:
        raise InputError(f"there are no pages in {language!r}; give {' or '.join(LANGUAGES)}")
    table = yaml.safe_load((files("goldpanner.report") / "ui_text.yaml").read_text(encoding="utf-8"))
    return {key: entry[language] for key, entry in table.items()}
