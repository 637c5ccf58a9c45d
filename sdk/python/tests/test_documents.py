"""What READMEs and examples show is so, and the package is the one that was built."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata, resources
from pathlib import Path

import pytest

import keymoat
from conftest import ROOT

README = (ROOT / "sdk/python/README.md").read_text()


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_the_wheel_with_the_guest_of_the_go_host() -> None:
    assert "site-packages" in Path(keymoat.__file__).parts
    files = resources.files("keymoat")
    assert files.joinpath("keymoat.wasm").read_bytes() == gzip.decompress((ROOT / "host/keymoat.wasm.gz").read_bytes())
    assert files.joinpath("py.typed").is_file()
    assert keymoat.__version__ == metadata.version("keymoat")
    for name in keymoat.__all__:
        assert hasattr(keymoat, name)


def test_the_sdist_makes_the_same_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT / "sdk/python", check=True, capture_output=True)
    [sdist] = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=source, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as made:
        files = {i.filename: i.CRC for i in made.infolist()}
        dist_info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
        assert made.read(f"{dist_info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    [installed] = (ROOT / "build/python").glob("*.whl")
    with zipfile.ZipFile(installed) as made:
        assert files == {i.filename: i.CRC for i in made.infolist()}


def test_the_first_example_of_the_readme_prints_a_decision_and_its_reason() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    lines = run("-c", code[1]).splitlines()
    assert lines[0] == "Allow Matched 203.0.113.0/24"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "Credential",
        "Service",
        "Owner",
        "Policy",
        "Network",
        "Source",
    ]


@pytest.mark.parametrize("name", [n for n in keymoat.__all__ if n.endswith("Error") and n != "KeymoatError"])
def test_the_readme_knows_every_error(name: str) -> None:
    assert f"`{name}`" in README


def test_the_readme_knows_every_option_of_a_guard() -> None:
    from keymoat.guard import Guard

    for option in Guard.__init__.__kwdefaults__ or {}:
        assert f"`{option}`" in README


def test_the_example_prints_what_its_readme_shows() -> None:
    shown = re.findall(r"\n```\n(a key.*?)```", (ROOT / "examples/python/README.md").read_text(), re.DOTALL)
    assert run(str(ROOT / "examples/python/guarded.py")) == shown[-1]


def test_the_testee_answers_line_by_line_and_ends_with_its_input() -> None:
    lines = [
        '{"Evaluate":{"AccessKeyId":"a","SourceIp":"203.0.113.1"}}',
        '{"Load":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}}',
        '{"Evaluate":{"AccessKeyId":"a","SourceIp":"203.0.113.1"}}',
    ]
    done = subprocess.run(
        [sys.executable, "-m", "keymoat.testee"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = done.stdout.splitlines()
    assert len(answers) == 3
    assert '"NotLoaded"' in answers[0]
    assert '"Revision"' in answers[1]
    assert '"203.0.113.0/24"' in answers[2]
