"""Verification of an index build as blocking asset checks.

The checks run inside the build, against the engine; here they only get their Dagster form.
"""

from typing import TYPE_CHECKING

import dagster as dg

from rag_assets.index.check_names import CHECK_NAMES

if TYPE_CHECKING:
    from rag_assets.index.build import BuildOutcome

INDEX_CHECKS = [dg.AssetCheckSpec(name, asset=["knowledge", "index"], blocking=True) for name in CHECK_NAMES]


def check_results(outcome: "BuildOutcome") -> list[dg.AssetCheckResult]:
    """One result per declared check.

    Where nothing was built the live build stands, which passed them all. A check that did not run
    because an earlier one failed has not passed.
    """
    from rag_assets.index.build import BuildStatus

    if outcome.status in (BuildStatus.UNCHANGED, BuildStatus.HELD):
        return [_result(name, True, outcome.reason) for name in CHECK_NAMES]
    ran = {check.name: check for check in outcome.checks}
    return [
        _result(name, ran[name].passed, ran[name].detail)
        if name in ran
        else _result(name, False, "did not run: an earlier check failed")
        for name in CHECK_NAMES
    ]


def _result(name: str, passed: bool, detail: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=passed, metadata={"detail": detail})
