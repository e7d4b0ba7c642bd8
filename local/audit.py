"""Look up known vulnerabilities of the locked packages, and write a bill of materials (CycloneDX) of each lock file.

Exits with 1 if there is a vulnerability, and with 2 if no database of vulnerabilities could be reached.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = ("api", "worker", "worker-gpu", "development")
DATABASES = ("pypi", "osv")
SBOMS = ROOT / "sbom"
FOUND, UNREACHABLE = 1, 2


def main() -> int:
    SBOMS.mkdir(exist_ok=True)
    found, unchecked = [], []
    for name in LOCKS:
        lock = ROOT / "requirements" / f"{name}.txt"
        _write_sbom(lock, SBOMS / f"{name}.json")
        packages = _look_up(lock)
        found += [(name, package) for package in packages if package.get("vulns")]
        skipped = [package["name"] for package in packages if "skip_reason" in package]
        print(f"{name}: {len(packages) - len(skipped)} of {_count_packages(lock)} packages were checked")
        if len(skipped) == len(packages):
            unchecked.append(name)
        elif skipped:
            unchecked.append(name)
            print(f"{name}: not checked: {', '.join(skipped)}")
    for name, package in found:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{name}: {package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"The bills of materials are in {SBOMS}.")
    if found:
        return FOUND
    if unchecked:
        print(
            "Packages were not checked, because no database of known vulnerabilities that has them can be reached: "
            "pypi.org or api.osv.dev. This is no sign that they are safe. Run `make audit` with a connection to them."
        )
        return UNREACHABLE
    print("No known vulnerability.")
    return 0


def _write_sbom(lock: Path, path: Path) -> None:
    command = ["-m", "cyclonedx_py", "requirements", "--output-reproducible", "--output-file", str(path), str(lock)]
    subprocess.run([sys.executable, *command], check=True)


def _look_up(lock: Path) -> list[dict[str, Any]]:
    """Return pip-audit's answer for each package from the first database that has one; empty if none can be reached."""
    packages: list[dict[str, Any]] = []
    for database in DATABASES:
        command = ["-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
        command += ["--vulnerability-service", database, "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        try:
            answer = json.loads(done.stdout)["dependencies"]
        except ValueError:  # pip-audit prints only an error if it reaches no database
            print(f"{lock.stem}: {database}: {done.stderr.strip().splitlines()[-1]}")
            continue
        packages = packages or answer
        if any("skip_reason" not in package for package in answer):
            return list(answer)
    return packages


def _count_packages(lock: Path) -> int:
    return sum("==" in line for line in lock.read_text().splitlines())


if __name__ == "__main__":
    sys.exit(main())
