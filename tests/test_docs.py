"""What the pages say is held against what there is: links, manifests, make targets, commands, reasons."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from kubernetes import client, config

from slipway.api import KINDS, Reason
from slipway.cli.__main__ import app

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {".venv", ".git", "node_modules"}
PAGES = sorted(
    page for page in ROOT.rglob("*.md") if not any(part in SKIPPED for part in page.relative_to(ROOT).parts)
)
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
GROUP = "slipway.dev/"

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"(?m)^(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)")
"""At the start of a command, variables before it."""
COMMAND = re.compile(r"kubectl slipway ([a-z]+)")
REASON = re.compile(r"^\| `([A-Z][A-Za-z]+)` \|", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(text: str, language: str) -> Iterator[str]:
    """The fenced blocks in that language."""
    for indent, found, body in FENCE.findall(text):
        if found == language:
            yield re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)


def prose(text: str) -> str:
    """The page without its fenced blocks: brackets and parentheses are no links there."""
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Fields that the API server's strict decoding would refuse."""
    found: list[str] = []
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            found += unknown(item, schema["items"], f"{path}[{number}]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            where = f"{path}.{name}".lstrip(".")
            known = schema["properties"].get(name)
            # metadata is Kubernetes' own: the CRD doesn't list its fields.
            found += [where] if known is None else [] if where == "metadata" else unknown(item, known, where)
    return found


def schema_of(kind: str) -> dict[str, Any]:
    (version,) = yaml.safe_load((ROOT / "crds" / f"{GROUP[:-1]}_{KINDS[kind].PLURAL}.yaml").read_text())[
        "spec"
    ]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def manifests(text: str) -> list[dict[str, Any]]:
    return [
        document
        for document in yaml.safe_load_all(text)
        if isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(GROUP)
    ]


def blocks() -> list[Any]:
    found = [
        pytest.param(manifest, id=f"{relative(page)}:{manifest['kind']}/{manifest['metadata']['name']}")
        for page in PAGES
        for block in code(page.read_text(), "yaml")
        for manifest in manifests(block)
    ]
    found += [
        pytest.param(manifest, id=f"{relative(file)}:{manifest['kind']}/{manifest['metadata']['name']}")
        for file in EXAMPLES
        for manifest in manifests(file.read_text())
    ]
    return found


@pytest.mark.parametrize("manifest", blocks())
def test_every_manifest_shown_is_one_that_the_api_takes(manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"] == "slipway.dev/v1alpha1"
    assert unknown(manifest, schema_of(manifest["kind"])) == []
    KINDS[manifest["kind"]].model_validate(manifest)


@pytest.mark.parametrize("manifest", blocks())
def test_every_manifest_shown_holds_the_rules_of_a_real_api_server(
    manifest: dict[str, Any], real_api: Path
) -> None:
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        taken = client.CustomObjectsApi(made).create_namespaced_custom_object(
            "slipway.dev",
            "v1alpha1",
            "default",
            KINDS[manifest["kind"]].PLURAL,
            {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}},
            dry_run="All",
            field_validation="Strict",
        )
    assert taken["metadata"]["name"] == manifest["metadata"]["name"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_has_a_page_with_a_complete_example(kind: str) -> None:
    page = ROOT / "docs" / "kinds" / (re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower() + ".md")
    shown = [m["kind"] for block in code(page.read_text(), "yaml") for m in manifests(block)]
    assert kind in shown


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_page_of_a_kind_names_every_field_of_its_spec_and_status(kind: str) -> None:
    text = (ROOT / "docs" / "kinds" / (re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower() + ".md")).read_text()
    schema = schema_of(kind)["properties"]
    for part in ("spec", "status"):
        missing = [name for name in schema[part]["properties"] if not re.search(rf"\b{name}\b", text)]
        assert missing == [], f"{part} in the page of {kind}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_named_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # Only in code: "make sure" is English.
    text = page.read_text()
    in_code = [body for _, _, body in FENCE.findall(text)] + re.findall(r"`([^`\n]+)`", prose(text))
    in_code += re.findall(r"^ {4}(.+)$", prose(text), re.MULTILINE)
    named = {name for snippet in in_code for name in TARGET.findall(snippet)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_of_kubectl_slipway_named_exists(page: Path) -> None:
    group = typer.main.get_command(app)
    known = set(getattr(group, "commands", {}))
    text = page.read_text()
    in_code = [body for _, _, body in FENCE.findall(text)] + re.findall(r"`([^`\n]+)`", prose(text))
    in_code += re.findall(r"^ {4}(.+)$", prose(text), re.MULTILINE)
    assert {name for snippet in in_code for name in COMMAND.findall(snippet)} <= known


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=relative)
def test_reasons_in_tables_are_reasons_of_the_api(page: Path) -> None:
    assert set(REASON.findall(page.read_text())) <= {reason.value for reason in Reason}


def test_every_page_of_docs_is_reached_from_its_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {index.resolve()}
    assert pages - reached == set()


def test_every_metric_of_the_operator_is_in_the_page_on_operations() -> None:
    source = (ROOT / "operator" / "slipway" / "metrics.py").read_text()
    named = set(re.findall(r'"(slipway_[a-z_]+)"', source))
    told = set(re.findall(r"`(slipway_[a-z_]+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert named
    assert named == told


def test_every_value_of_the_chart_is_in_the_page_on_operations() -> None:
    values = yaml.safe_load((ROOT / "charts" / "slipway" / "values.yaml").read_text())
    text = (ROOT / "docs" / "operations.md").read_text()
    missing = []
    for name, value in values.items():
        members = value if isinstance(value, dict) and name != "images" else {}
        told = [f"{name}.{member}" for member in members] or [name]
        missing += [path for path in told if f"`{path}" not in text]
    assert missing == []


def test_every_command_of_kubectl_slipway_is_in_its_page() -> None:
    commands = set(getattr(typer.main.get_command(app), "commands", {}))
    text = (ROOT / "docs" / "cli.md").read_text()
    assert commands
    assert {name for name in commands if f"`kubectl slipway {name}" in text} == commands
