"""Tells the formats apart."""

from collections.abc import Callable
from typing import Literal

from masivo_braze.loyalty.importing.cdnow import LINE, CdnowParser
from masivo_braze.loyalty.importing.ndjson import parse_ndjson
from masivo_braze.loyalty.importing.records import ImportRecord

Format = Literal["ndjson", "cdnow"]
#: (line number, line) → record; BadLineError where there is none.
Parser = Callable[[int, str], ImportRecord]


def guess_format(line: str) -> Format:
    """The format of the file whose first line with anything in it is this one."""
    return "cdnow" if LINE.fullmatch(line) else "ndjson"


def parser_for(name: Format) -> Parser:
    return CdnowParser() if name == "cdnow" else parse_ndjson
