"""Look the pinned versions up among the known vulnerabilities: exit code 1 where one is found.

A service that cannot be reached, or a mirror that knows no advisories, is said in one line and fails nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).parents[1] / "constraints.txt"
COMMAND = ["-m", "pip_audit", "--requirement", str(PINNED), "--no-deps", "--disable-pip", "--format", "json"]
COMMAND += ["--progress-spinner", "off", "--timeout", "15"]
SECONDS = 300


def main() -> int:
    """Ask pip-audit and say what it found."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, *COMMAND], capture_output=True, encoding="utf-8", check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess([], 1, "", f"no answer within {SECONDS} s")
    code, lines = verdict(done.stdout, done.stderr)
    print("\n".join(lines))
    return code


def verdict(answer: str, errors: str) -> tuple[int, list[str]]:
    """Exit code and lines for what pip-audit wrote: its JSON, and its last words where there is none."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        if "pip_audit" in last and "No module" in last:
            return 1, ["audit: pip-audit is not installed: make setup"]
        return 0, [f"audit: nothing was looked up, the advisory service cannot be reached ({last[:200]})"]
    known = [package for package in packages if "skip_reason" not in package]
    found = [(package, weakness) for package in known for weakness in package["vulns"]]
    if found:
        return 1, [
            f"audit: {package['name']} {package['version']}: {weakness['id']}, mended in "
            + (", ".join(weakness["fix_versions"]) or "no version yet")
            for package, weakness in found
        ]
    if not known:
        return 0, ["audit: nothing was looked up, the package index here knows no advisories"]
    unknown = f", {len(packages) - len(known)} unknown to the service" if len(packages) > len(known) else ""
    return 0, [f"audit: no known vulnerability in {len(known)} packages{unknown}"]


if __name__ == "__main__":
    sys.exit(main())
