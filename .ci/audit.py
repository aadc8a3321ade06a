"""Asks pip-audit whether the pinned dependencies have known vulnerabilities; says what it saw.

Exit codes: 0 none is known; 1 there are some, or the audit failed; 3 nothing was audited, since the
service does not answer or knows none of the packages.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PINS = ("docker/requirements.txt", "docker/requirements-cuda.txt")
UNANSWERED = 3
_SHOWN = 5
_UNREACHED = re.compile(r"connect|resol|timed? ?out|unreachable|HTTP|TLS|SSL", re.IGNORECASE)


def main() -> int:
    """Audit the pins; returns the exit code."""
    pins = [word for name in PINS for word in ("--requirement", name)]
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", *pins]
    done = subprocess.run(  # noqa: S603 -- ours, word for word
        [*command, "--format", "json", "--progress-spinner", "off"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _no_answer(done.stderr)
    return report(found)


def report(dependencies: Sequence[dict[str, object]]) -> int:
    """Say what pip-audit found of each dependency; returns the exit code."""
    skipped = [str(one["name"]) for one in dependencies if "skip_reason" in one]
    audited = len(dependencies) - len(skipped)
    if not audited:
        print(f"dependency audit: SKIPPED: the service knows none of {len(skipped)} packages")
        return UNANSWERED
    if skipped:
        more = ", …" if len(skipped) > _SHOWN else ""
        print(f"not audited: {len(skipped)} ({', '.join(skipped[:_SHOWN])}{more})")
    code = 0
    for one in dependencies:
        for flaw in one.get("vulns") or ():  # type: ignore[attr-defined]
            code = 1
            mended = ", ".join(flaw["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}")
    print(
        f"dependency audit: {audited} packages audited, {'flaws known' if code else 'none known'}"
    )
    return code


def _no_answer(error: str) -> int:
    reason = (error.strip().splitlines() or ["no output"])[-1]
    if not _UNREACHED.search(reason):
        print(f"dependency audit: failed: {reason}")
        return 1
    print(f"dependency audit: SKIPPED: the service does not answer ({reason})")
    return UNANSWERED


if __name__ == "__main__":
    sys.exit(main())
