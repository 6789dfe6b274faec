"""What a gate lets through, in the forms that pipelines show: JUnit XML and SARIF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree as Xml

from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.version import __version__

_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML cannot hold
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


class Case(NamedTuple):
    """One thing that the gate looks at.

    Attributes:
        attribute: whose leak it is.
        what: which attacker on which view, or what is told beyond what is known.
        advantage: in [-1, 1].
        passes: whether it is at most the limit.
    """

    attribute: str
    what: str
    advantage: float
    passes: bool

    @property
    def text(self) -> str:
        """The case in one line."""
        return f"{self.attribute} {self.advantage:.3f} ({self.what})"


def cases(results: Mapping[str, Any], limit: float) -> list[Case]:
    """All that a gate looks at in the results of an audit, with the limit of ``--fail_above``."""
    return [Case(name, what, gain, gain <= limit) for name, what, gain in _found(results)]


def _found(results: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    for row in results["attacks"]:
        if row["view"] not in REFERENCES:
            known = f", {row['leak_ratio']:g} known"
            yield row["attribute"], f"{row['attacker']} on {row['view']}{known}", row["metrics"]["advantage"]["mean"]
    for name, found in results.get("informed", {}).get("attributes", {}).items():
        if "beyond_old" in found:
            yield name, "beyond the old vectors", found["beyond_old"]
        if "activity" in found:
            yield name, "beyond activity", found["activity"]["beyond"]


def junit(results: Mapping[str, Any], limit: float) -> str:
    """The gate as JUnit XML: a test case for each case, which fails above the limit."""
    looked = cases(results, limit)
    failed = sum(not case.passes for case in looked)
    suite = Xml.Element("testsuite", name="recbole-aia audit", tests=str(len(looked)), failures=str(failed))
    for case in looked:
        element = Xml.SubElement(suite, "testcase", classname=_clean(case.attribute), name=_clean(case.what))
        if not case.passes:
            message = f"advantage {case.advantage:.3f} is above {limit:g}"
            Xml.SubElement(element, "failure", message=message).text = _clean(case.text)
    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def sarif(results: Mapping[str, Any], limit: float) -> str:
    """The gate as SARIF 2.1.0: a result for each case above the limit, at the file that was audited."""
    place = {"physicalLocation": {"artifactLocation": {"uri": str(results["audit"]["path"])}}}
    rule = {
        "id": "attribute-leak",
        "shortDescription": {"text": "An attribute can be inferred from user embeddings"},
        "fullDescription": {"text": f"The advantage of an attacker is above {limit:g}."},
    }
    found = [
        {
            "ruleId": rule["id"], "level": "error", "locations": [place],
            "message": {"text": f"{case.text} is above {limit:g}"},
        }
        for case in cases(results, limit)
        if not case.passes
    ]  # fmt: skip
    tool = {"driver": {"name": "recbole-aia", "version": __version__, "rules": [rule]}}
    return (
        json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": tool, "results": found}]}, indent=2) + "\n"
    )


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("?", text)
