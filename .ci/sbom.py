"""The CycloneDX list of everything in a wheel and in the environment that it was tested in.

    python .ci/sbom.py WHEEL PYTHON OUTPUT.cdx.json

The packages are ``cyclonedx-py environment``'s. Added here is what it cannot see: the wheel's own hash, the weights in it, and
the headers that are compiled into it.
"""

import hashlib
import json
import subprocess
import sys
import uuid
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseAcknowledgement, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parent.parent
#: Licences of weights that are not ours; the others have the project's.
LICENCES = {"centerface.onnx": "MIT"}


def sha256(content: bytes) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(content).hexdigest())


def component(kind: ComponentType, name: str, version: str, licence: str, content: bytes | None = None) -> Component:
    declared = LicenseExpression(licence, acknowledgement=LicenseAcknowledgement.DECLARED)
    hashes = [] if content is None else [sha256(content)]
    return Component(
        type=kind, name=name, version=version, bom_ref=f"{name}=={version}", licenses=[declared], hashes=hashes
    )


def main(wheel: Path, python: str, output: Path) -> None:
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--mc-type", "library"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), python]
    bom = Bom.from_json(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    product = bom.metadata.component
    assert product is not None
    assert product.version is not None
    product.hashes.add(sha256(wheel.read_bytes()))
    parts = [component(ComponentType.LIBRARY, "pybind11", metadata.version("pybind11"), "BSD-3-Clause")]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.suffix == ".onnx":
                licence = LICENCES.get(path.name, "Apache-2.0")
                kind = ComponentType.MACHINE_LEARNING_MODEL
                parts.append(component(kind, name, product.version, licence, archive.read(name)))
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(product, parts)
    # Not a random one: the same wheel makes the same document.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(wheel.read_bytes()).hexdigest())
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"{output}: not a valid CycloneDX document: {problem}")
    output.write_text(text + "\n")


main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
