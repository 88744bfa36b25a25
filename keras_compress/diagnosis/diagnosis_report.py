"""Diagnosis: the layers that quantization hurts, why, the settings that mend it, and the error measured again with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_compress.config import CompressionConfig
from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values

__all__ = ["Diagnosis", "Finding"]


@dataclass(frozen=True)
class Finding:
    """A layer that quantization hurts.

    Attributes:
        layer: path of the layer.
        what: ``"weights"`` or ``"activations"``: those of its output, or the inputs of the model.
        cause: ``"dead range"``, ``"narrow calibration"``, ``"input columns apart"``, ``"unbalanced concatenation"``,
            ``"outlier channel"``, ``"outlier values"``, ``"few bits"`` or ``"amplification downstream"``.
        reason: the numbers that say so, a sentence.
        share: of the error of the outputs that is gone without this quantizer, in [0, 1]; None if it was not measured.
        change: of the configuration of the algorithm; None in it takes a key away. Empty where only ranges are measured again.
        recalibrated: whether the ranges have to be measured on samples like those of the diagnosis, not on those that the
            configuration has.
        before, after: signal to error of the outputs in dB without the change and with it, the changes of the findings before
            made in both; ``after`` is None if it was not measured.
        alone: whether both are those with this quantizer alone, all others switched off: where quantizers hide each other, the
            outputs are as wrong without one of them. Default False.
    """

    layer: str
    what: str
    cause: str
    reason: str
    share: float | None
    change: Mapping[str, Any]
    recalibrated: bool
    before: float
    after: float | None
    alone: bool = False


@dataclass(frozen=True)
class Diagnosis(JsonReport):
    """What quantization hurts in a model, and a configuration that mends it. ``print`` shows both.

    Attributes:
        findings: the layers, in the order in which their settings were changed, the one that hurts most first.
        sqnr: signal to error of the outputs with the configuration as it was, in dB.
        mended: the same with all changes; None if it was not measured.
        samples: how many samples it was measured on.
        config: the configuration with all changes; the samples for initialization are those of the calibration.
    """

    findings: tuple[Finding, ...]
    sqnr: float
    mended: float | None
    samples: int
    config: CompressionConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-able values; an infinite ratio is None."""
        findings = [{**vars(finding), "change": dict(finding.change)} for finding in self.findings]
        return json_values(
            {
                "sqnr": self.sqnr,
                "mended": self.mended,
                "samples": self.samples,
                "findings": findings,
                "config": self.config.to_dict(),
            }
        )

    def __str__(self) -> str:
        outputs = f"outputs of the quantized model: {decibels_text(self.sqnr)} on {self.samples} samples"
        if not self.findings:
            return f"{outputs}; no layer stands out"
        rows = [
            [
                *(finding.layer, finding.what, finding.cause),
                "alone" if finding.alone else "" if finding.share is None else f"{finding.share:.0%}",
                decibels_text(finding.before),
                decibels_text(finding.after),
            ]
            for finding in self.findings
        ]
        table = format_table(["layer", "quantizer of", "cause", "of the error", "now", "with the change"], rows)
        texts = [f"{finding.layer}: {finding.reason}.\n  change: {_change(finding)}" for finding in self.findings]
        end = "" if self.mended is None else f", {decibels_text(self.mended)} with all changes"
        return "\n\n".join([outputs + end, table, *texts])


def _change(finding: Finding) -> str:
    text = json.dumps(json_values(dict(finding.change))) if finding.change else ""
    again = "measure the ranges on samples like these" if finding.recalibrated else ""
    return "; ".join(part for part in (text, again) if part)
