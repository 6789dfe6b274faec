"""Converters: each makes RecBole's atomic files of a dataset's raw files."""

from recbole_aia.data.converters.base import LABELS, Converter, Events, Labels
from recbole_aia.data.converters.book_crossing import BOOK_CROSSING
from recbole_aia.data.converters.csv_tables import csv_tables
from recbole_aia.data.converters.kuairec import KUAIREC
from recbole_aia.data.converters.kuaisar import KUAISAR
from recbole_aia.data.converters.lastfm_1k import LASTFM_1K
from recbole_aia.data.converters.lastfm_360k import LASTFM_360K
from recbole_aia.data.converters.lfm_1b import LFM_1B
from recbole_aia.data.converters.lfm_2b import LFM_2B
from recbole_aia.data.converters.ml_1m import ML_1M
from recbole_aia.data.converters.modcloth import MODCLOTH
from recbole_aia.data.converters.pipeline import Options, prepare
from recbole_aia.data.converters.profiles import CONFLICTS
from recbole_aia.data.converters.renttherunway import RENTTHERUNWAY
from recbole_aia.data.converters.summary import Summary

#: The converters by name of the dataset.
CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        ML_1M,
        LFM_2B,
        KUAISAR,
        LASTFM_360K,
        LASTFM_1K,
        MODCLOTH,
        BOOK_CROSSING,
        KUAIREC,
        RENTTHERUNWAY,
        LFM_1B,
    )
}

__all__ = [
    "CONFLICTS",
    "CONVERTERS",
    "LABELS",
    "Converter",
    "Events",
    "Labels",
    "Options",
    "Summary",
    "csv_tables",
    "prepare",
]
