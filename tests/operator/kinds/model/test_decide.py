import pytest

import make
from slipway.decision import Decision

PRODUCED = "slipway.dev/producer"
V1 = make.ready_version("fashion-cnn-v1", created=make.at(0))
V1_INT8 = make.ready_version("fashion-cnn-v1-int8", producer="CompressionJob", created=make.at(60))
V2 = make.ready_version("fashion-cnn-v2", created=make.at(120))
V2_INT8 = make.ready_version("fashion-cnn-v2-int8", producer="CompressionJob", created=make.at(180))


def with_alias(**rule: object) -> make.Manifest:
    return make.model(spec={"aliases": [{"name": "candidate", **rule}], "retention": None})


def alias(decision: Decision, name: str = "candidate") -> make.Manifest:
    assert decision.status is not None
    return dict(next(found for found in decision.status["aliases"] if found["name"] == name))


def target(decision: Decision, name: str = "candidate") -> str | None:
    found: make.Manifest = alias(decision, name).get("modelVersionRef") or {}
    return found.get("name")


def test_latest_is_the_newest_ready_version_that_its_selector_takes() -> None:
    decision = make.decide(make.model(), V1, V1_INT8, V2, now=make.at(200))
    assert alias(decision) == {
        "name": "candidate",
        "modelVersionRef": {"name": "fashion-cnn-v1-int8"},
        "sinceTime": "2026-11-24T10:03:20Z",
        "reason": "NewestReady",
    }


def test_a_version_that_is_not_ready_is_never_pointed_to() -> None:
    rejected = make.ready_version(
        "fashion-cnn-v2-int8", phase="Rejected", producer="CompressionJob", created=make.at(180)
    )
    assert target(make.decide(make.model(), V1_INT8, rejected)) == "fashion-cnn-v1-int8"


def test_an_empty_alias_names_the_newest_version_and_why_it_is_not_taken() -> None:
    rejected = make.ready_version("fashion-cnn-v1", phase="Rejected")
    decision = make.decide(with_alias(latest={}), rejected)
    assert target(decision) is None
    assert make.told(decision, "Ready") == (
        "False",
        "AliasesWaiting",
        "0 of 1 alias point to a version. candidate waits: newest is fashion-cnn-v1 (Rejected).",
    )
    assert decision.status is not None
    assert decision.status["phase"] == "Pending"
    assert decision.status["versions"] == {"total": 1, "ready": 0, "rejected": 1}


def test_a_version_of_a_user_has_the_labels_that_selectors_ask_for() -> None:
    version = make.user_version(
        "fashion-byo",
        spec={"modelRef": {"name": "fashion-cnn"}},
        status={"observedGeneration": 1, "phase": "Ready"},
    )
    model = with_alias(latest={"selector": {"matchLabels": {PRODUCED: "User"}}})
    assert target(make.decide(model, version)) == "fashion-byo"


@pytest.mark.parametrize(
    ("term", "newest"),
    [
        ({"operator": "In", "values": ["CompressionJob", "User"]}, "fashion-cnn-v1-int8"),
        ({"operator": "NotIn", "values": ["CompressionJob"]}, "fashion-cnn-v2"),
        ({"operator": "Exists"}, "fashion-cnn-v2"),
        ({"operator": "DoesNotExist"}, None),
    ],
)
def test_a_selector_may_state_conditions_on_labels(term: make.Manifest, newest: str | None) -> None:
    selector = {"matchExpressions": [{"key": PRODUCED, **term}]}
    assert target(make.decide(with_alias(latest={"selector": selector}), V1, V1_INT8, V2)) == newest


def test_a_move_is_remembered_with_since_when_and_why() -> None:
    first = make.decide(make.model(), V1_INT8, now=make.at(100))
    moved = make.decide(make.after(make.model(), first), V1_INT8, V2_INT8, now=make.at(322))
    assert target(moved) == "fashion-cnn-v2-int8"
    assert alias(moved)["history"] == [
        {
            "modelVersionRef": {"name": "fashion-cnn-v1-int8"},
            "sinceTime": "2026-11-24T10:01:40Z",
            "reason": "NewestReady",
        }
    ]
    assert [event.message for event in moved.events] == [
        "Alias candidate moved from fashion-cnn-v1-int8 to fashion-cnn-v2-int8."
    ]


def test_the_history_keeps_the_newest_ten() -> None:
    model = with_alias(latest={})
    versions: list[make.Manifest] = []
    for number in range(13):
        versions.append(make.ready_version(f"v{number}", created=make.at(number)))
        model = make.after(model, make.decide(model, *versions, now=make.at(number)))
    history = model["status"]["aliases"][0]["history"]
    assert [move["modelVersionRef"]["name"] for move in history] == [f"v{n}" for n in range(11, 1, -1)]


def test_an_alias_that_points_to_the_same_version_is_not_rewritten() -> None:
    first = make.decide(make.model(), V1_INT8, now=make.at(100))
    again = make.decide(make.after(make.model(), first), V1_INT8, V2, now=make.at(9000))
    assert alias(again) == alias(first)
    assert again.events == ()


def test_best_moves_only_to_a_version_that_is_better_by_enough() -> None:
    def version(name: str, accuracy: float, seconds: float) -> make.Manifest:
        spec = {"evaluation": {"metrics": {"accuracy": accuracy}}}
        return make.ready_version(name, spec=spec, created=make.at(seconds))

    model = with_alias(best={"metric": "accuracy", "by": 0.01})
    one = version("one", 0.91, 1)
    first = make.decide(model, one)
    assert target(first) == "one"
    held = make.after(model, first)
    assert target(make.decide(held, one, version("two", 0.919, 2))) == "one"
    moved = make.decide(held, one, version("two", 0.92, 2))
    assert target(moved) == "two"
    assert alias(moved)["message"] == "accuracy 0.9200, one has 0.9100."


def test_best_knows_of_which_figures_less_is_better() -> None:
    def version(name: str, latency: float) -> make.Manifest:
        return make.ready_version(name, spec={"evaluation": {"metrics": {"latency_p50_ms": latency}}})

    model = with_alias(best={"metric": "latency_p50_ms"})
    assert target(make.decide(model, version("slow", 2.0), version("fast", 1.0))) == "fast"


def test_promoted_follows_the_stable_version_of_its_deployment() -> None:
    history = [
        {
            "revision": "fashion-000000",
            "modelVersionRef": {"name": "fashion-cnn-v1-int8"},
            "outcome": "Promoted",
            "reason": "FirstRevision",
            "startTime": make.stamp(make.at(0)),
            "completionTime": make.stamp(make.at(20)),
        }
    ]
    deployment = make.model_deployment(
        stable="fashion-cnn-v1-int8", canary="fashion-cnn-v2-int8", history=history
    )
    decision = make.decide(make.model(), V1_INT8, V2_INT8, deployment, now=make.at(114))
    assert alias(decision, "champion") == {
        "name": "champion",
        "modelVersionRef": {"name": "fashion-cnn-v1-int8"},
        "sinceTime": "2026-11-24T10:01:54Z",
        "reason": "Promoted",
        "message": "First revision of ModelDeployment fashion.",
    }
    assert make.told(decision, "Ready") == ("True", "AliasesResolved", "2 of 2 aliases point to a version.")
    assert decision.status is not None
    assert decision.status["summary"] == (
        "candidate is fashion-cnn-v2-int8 since 2026-11-24T10:01:54Z; champion is fashion-cnn-v1-int8 since"
        " 2026-11-24T10:01:54Z."
    )


def test_what_was_promoted_stays_promoted_when_the_deployment_goes() -> None:
    first = make.decide(make.model(), V1_INT8, make.model_deployment(stable="fashion-cnn-v1-int8"))
    assert target(make.decide(make.after(make.model(), first), V1_INT8), "champion") == "fashion-cnn-v1-int8"


def test_a_version_of_another_model_is_not_promoted_here() -> None:
    decision = make.decide(make.model(), V1_INT8, make.model_deployment(stable="something-else"))
    assert alias(decision, "champion")["message"] == (
        "ModelDeployment fashion has promoted no version of this Model yet"
    )


def test_fixed_points_where_its_author_says_or_says_why_not() -> None:
    def fixed(name: str, *versions: make.Manifest) -> Decision:
        return make.decide(with_alias(fixed={"modelVersionRef": {"name": name}}), *versions)

    assert target(fixed("fashion-cnn-v1", V1)) == "fashion-cnn-v1"
    assert alias(fixed("fashion-cnn-v9", V1))["message"] == (
        "there is no ModelVersion fashion-cnn-v9. There is a ModelVersion fashion-cnn-v1"
    )
    rejected = make.ready_version("fashion-cnn-v1", phase="Rejected")
    assert alias(fixed("fashion-cnn-v1", rejected))["message"] == "ModelVersion fashion-cnn-v1 is Rejected"
    stranger = make.user_version("fashion-byo")
    assert alias(fixed("fashion-byo", stranger))["message"] == (
        "ModelVersion fashion-byo doesn't belong to this Model; set its spec.modelRef, or name another"
    )


def test_retention_deletes_the_oldest_versions_that_nothing_uses() -> None:
    model = make.model(spec={"aliases": [{"name": "candidate", "latest": {}}], "retention": {"keep": 1}})
    used = make.model_deployment(stable="fashion-cnn-v1")
    decision = make.decide(model, V1, V1_INT8, V2, V2_INT8, used)
    assert [target.name for target in decision.delete] == ["fashion-cnn-v1-int8"]


def test_retention_leaves_versions_of_users_and_those_under_way() -> None:
    model = make.model(spec={"aliases": [], "retention": {"keep": 1}})
    users = [
        make.user_version(
            f"byo-{n}",
            spec={"modelRef": {"name": "fashion-cnn"}},
            status={"observedGeneration": 1, "phase": "Ready"},
            created=make.at(n),
        )
        for n in range(3)
    ]
    pending = [make.model_version(f"pending-{n}", created=make.at(n)) for n in range(3)]
    assert make.decide(model, *users, *pending).delete == ()


def test_a_model_without_aliases_is_ready() -> None:
    assert make.told(make.decide(make.model(spec={"aliases": []})), "Ready") == ("True", "NoAliases", "")
