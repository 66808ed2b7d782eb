"""What bearerd runs on, as a CycloneDX document: `python scripts/sbom.py FILE`.

Names, versions and hashes come from `locks/runtime.txt`; licences and who needs whom from the metadata of the installed
packages, which must be of those very versions. The same tree gives the same bytes, whenever and wherever: the time in
it is SOURCE_DATE_EPOCH's, its serial number a digest of the rest.
"""

import os
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = SchemaVersion.V1_6
EPOCH = 1_580_601_600  # without SOURCE_DATE_EPOCH: 2020-02-02, as in the wheel
# What these packages say is no SPDX expression, or less than their licence files do.
LICENCES = {
    "aiosignal": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "uvloop": "MIT OR Apache-2.0",
}


class Unlike(Exception):
    """What is installed is not what is locked, so that its metadata says nothing."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of the lock file. `marker` says where it is needed, empty: everywhere. `hashes` are SHA-256."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def locked(text: str) -> list[Locked]:
    """What a lock file pins."""
    found = re.findall(r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=.+\n?)+)", text, re.MULTILINE)
    return [
        Locked(canonicalize_name(name), version, marker, tuple(sorted(re.findall("sha256:([0-9a-f]{64})", hashes))))
        for name, version, marker, hashes in found
    ]


def licence(name: str) -> str:
    """The SPDX expression of an installed package; what it says itself if there is none."""
    found = metadata.metadata(name)
    said = next((found[key] for key in ("License-Expression", "License") if key in found), "")
    return LICENCES.get(name, said)


def needs(requirements: Iterable[str], extras: Iterable[str] = ("",)) -> Iterator[str]:
    """The names that these requirements ask for with one of these extras, on any system."""
    for text in requirements:
        need = Requirement(text)
        marker = str(need.marker or "")
        if "extra" not in marker or any(f'extra == "{extra}"' in marker for extra in extras if extra):
            yield canonicalize_name(need.name)


def graph(packages: Iterable[Locked]) -> dict[str, list[str]]:
    """Who needs whom, among the locked packages. Raises `Unlike`."""
    pins = {package.name: package.version for package in packages}
    found = {}
    for name, version in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if installed != version:
            raise Unlike(f"{name} is locked at {version} and {installed}; run: scripts/setup test")
        found[name] = sorted({each for each in needs(metadata.requires(name) or ()) if each in pins})
    return found


def reached(roots: Iterable[str], edges: Mapping[str, list[str]]) -> set[str]:
    """Everything that these need, and what that needs."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in edges and name not in found:
            found.add(name)
            waiting += edges[name]
    return found


def component(package: Locked, *, required: bool) -> Component:
    properties = [Property(name="bearerd:locked-sha256", value=" ".join(package.hashes))]
    properties += [Property(name="bearerd:where", value=package.marker)] if package.marker else []
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=package.name,
        purl=PackageURL("pypi", None, package.name, package.version),
        licenses=[LicenseFactory().make_from_string(licence(package.name))],
        scope=ComponentScope.REQUIRED if required else ComponentScope.OPTIONAL,
        properties=properties,
    )


def document(project: Mapping[str, Any], version: str, packages: list[Locked], epoch: int) -> str:
    """The whole document, checked against the schema of its format."""
    name, edges = str(project["name"]), graph(packages)
    core = sorted({*needs(project["dependencies"])})
    extra = sorted({each for group in project["optional-dependencies"].values() for each in needs(group)})
    required = reached(core, edges)
    purl = PackageURL("pypi", None, name, version)
    ours = Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref=name, purl=purl,
                     licenses=[LicenseFactory().make_from_string(str(project["license"]))])  # fmt: skip
    bom = Bom()
    bom.metadata.component = ours
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    parts = {package.name: component(package, required=package.name in required) for package in packages}
    bom.components.update(parts.values())
    bom.register_dependency(ours, [parts[each] for each in (*core, *extra)])
    for each, needed in edges.items():
        bom.register_dependency(parts[each], [parts[other] for other in needed])
    bom.serial_number = uuid.UUID(int=0)
    unnumbered = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string()
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, unnumbered)
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2) + "\n"
    if (fault := JsonStrictValidator(SCHEMA).validate_str(text)) is not None:
        raise ValueError(f"this is no CycloneDX document: {fault!r}")
    return text


def write(target: Path, version: str) -> None:
    """Make the document of this tree. Raises `Unlike`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    packages = locked((ROOT / "locks/runtime.txt").read_text("utf-8"))
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    target.write_text(document(project, version, packages, epoch), "utf-8")


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from proxy import __version__

    try:
        write(Path(sys.argv[1]), __version__)
    except Unlike as error:
        sys.exit(f"sbom: {error}")


if __name__ == "__main__":
    main()
