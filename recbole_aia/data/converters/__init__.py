"""Datasets from their raw files."""

from recbole_aia.data.converters.base import LABELS, Converter, Events
from recbole_aia.data.converters.lastfm_360k import LASTFM_360K
from recbole_aia.data.converters.ml_1m import ML_1M
from recbole_aia.data.converters.pipeline import Options, prepare
from recbole_aia.data.converters.profiles import CONFLICTS
from recbole_aia.data.converters.summary import Summary

#: The datasets, by name.
CONVERTERS: dict[str, Converter] = {converter.name: converter for converter in (ML_1M, LASTFM_360K)}

__all__ = ["CONFLICTS", "CONVERTERS", "LABELS", "Converter", "Events", "Options", "Summary", "prepare"]
