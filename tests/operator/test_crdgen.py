import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import V1JSONSchemaProps
from pydantic.alias_generators import to_camel

from slipway import crdgen
from slipway.api import KINDS, Reason, Resource

ROOT = Path(__file__).resolve().parents[2]
Schema = dict[str, Any]

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def nodes(schema: Schema, path: str = "") -> list[tuple[str, Schema]]:
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            found += nodes(schema[key], f"{path}[]")
    return found


def test_the_files_in_the_repository_are_what_the_models_say() -> None:
    assert crdgen.drift(ROOT) == "", "run `make generate`"


@kinds
def test_every_keyword_is_one_of_a_structural_schema(kind: type[Resource]) -> None:
    allowed = {
        name.replace("_", "-") if name.startswith("x_") else to_camel(name)
        for name in V1JSONSchemaProps.model_fields
    }
    for path, node in nodes(crdgen.openapi(kind)):
        assert node.keys() <= allowed, path


@kinds
def test_every_node_has_a_type_and_no_node_is_nullable(kind: type[Resource]) -> None:
    for path, node in nodes(crdgen.openapi(kind)):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert "nullable" not in node, path


@kinds
def test_everything_has_a_bound_so_that_rules_have_a_cost(kind: type[Resource]) -> None:
    for path, node in nodes(crdgen.openapi(kind)):
        if path == ".metadata":
            continue
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "object":
            assert "properties" in node or "maxProperties" in node, path


@kinds
def test_every_field_is_explained(kind: type[Resource]) -> None:
    schema = crdgen.openapi(kind)
    for path, node in nodes(schema):
        if path.startswith((".spec", ".status")) and not path.endswith("[]"):
            assert node.get("description", "").endswith((".", ")")), path


@kinds
def test_a_status_has_one_default_that_says_nobody_looked_yet(kind: type[Resource]) -> None:
    status = crdgen.openapi(kind)["properties"]["status"]
    assert status.pop("default") == {"observedGeneration": -1}
    assert [path for path, node in nodes(status) if "default" in node] == []


@kinds
def test_lists_are_merged_by_a_key_or_replaced_whole(kind: type[Resource]) -> None:
    for path, node in nodes(crdgen.openapi(kind)):
        if node.get("type") == "array" and path.startswith(".status"):
            assert "x-kubernetes-list-type" in node, path
    conditions = crdgen.openapi(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@kinds
def test_age_is_the_last_narrow_column_and_summary_the_last_wide_one(kind: type[Resource]) -> None:
    columns = crdgen.crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow = [c["name"] for c in columns if "priority" not in c]
    assert narrow[-1] == "Age"
    assert 4 <= len(narrow) <= 6
    assert columns[-1] == {
        "name": "Summary",
        "type": "string",
        "jsonPath": ".status.summary",
        "description": "What it does now or waits for.",
        "priority": 1,
    }


def test_names_are_those_of_the_design() -> None:
    names = {kind: crdgen.crd(KINDS[kind])["spec"]["names"] for kind in KINDS}
    assert {kind: n.get("shortNames") for kind, n in names.items()} == {
        "Dataset": ["dset"],
        "TrainingRun": ["trun"],
        "CompressionJob": ["cjob"],
        "Model": None,
        "ModelVersion": ["mver"],
        "ModelDeployment": ["mdep"],
    }
    assert all(n["categories"] == ["slipway"] for n in names.values())


def test_a_crd_fits_the_annotation_of_client_side_apply() -> None:
    sizes = {kind: len(json.dumps(crdgen.crd(model))) for kind, model in KINDS.items()}
    assert max(sizes.values()) < 256 * 1024 / 2, sizes


@kinds
def test_the_charts_copy_is_kept_on_uninstall_and_may_be_left_out(kind: type[Resource]) -> None:
    text = crdgen.chart_template(crdgen.crd(kind))
    lines = text.splitlines()
    assert (lines[1], lines[-1]) == ("{{- if .Values.crds.install }}", "{{- end }}")
    inside = "\n".join(lines[2:-1])
    assert "{{" not in inside
    assert yaml.safe_load(inside)["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_a_union_of_types_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"spec\.x: a union of 2 types has no structural schema"):
        crdgen.structural({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {}, "spec.x")


def test_a_text_without_bound_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"spec\.x: a string needs maxLength or enum"):
        crdgen.structural({"type": "string"}, {}, "spec.x")


def test_an_unknown_keyword_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"spec\.x: no structural schema for \['contains'\]"):
        crdgen.structural({"type": "array", "contains": {}}, {}, "spec.x")


def test_an_open_bound_becomes_a_bound_and_a_flag() -> None:
    made = crdgen.structural({"type": "number", "exclusiveMinimum": 0}, {}, "x")
    assert made == {"type": "number", "minimum": 0, "exclusiveMinimum": True}


def test_every_reason_is_on_the_page_with_its_meaning() -> None:
    page = crdgen.reasons_page()
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in page


def test_check_shows_the_difference_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(tmp_path)]
    assert crdgen.main(arguments) == 0
    assert crdgen.main([*arguments, "--check"]) == 0
    page = tmp_path / "docs" / "reasons.md"
    page.write_text(page.read_text().replace("# Reasons", "# Raisins"))
    assert crdgen.main([*arguments, "--check"]) == 1
    said = capsys.readouterr().out
    assert "-# Raisins" in said
    assert "+# Reasons" in said
    assert "# Raisins" in page.read_text()
