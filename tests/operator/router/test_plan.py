"""From manifests to routes."""

from typing import Any

from envoys import CREATED
from slipway.router.plan import routes
from slipway.router.route import Arm, Endpoint, Route


def deployment(*revisions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "ModelDeployment",
        "metadata": {"namespace": "demo", "name": "fashion", "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": spec,
        "status": {"revisions": list(revisions)},
    }


def pod(revision: str, ip: str | None, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    labels = {"slipway.dev/name": "fashion", "slipway.dev/revision": revision}
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"conditions": conditions} | ({"podIP": ip} if ip else {})
    return {"metadata": {"namespace": "demo", "labels": labels, **metadata}, "status": status}


def test_weights_come_from_status_and_endpoints_from_pods() -> None:
    planned = routes(
        [
            deployment(
                {"name": "fashion-a", "weight": 80},
                {"name": "fashion-b", "weight": 20},
                traffic={"hosts": ["fashion.example.com"]},
            )
        ],
        [
            pod("fashion-a", "10.0.0.2"),
            pod("fashion-a", "10.0.0.1"),
            pod("fashion-b", "10.0.0.3", ready=False),
            pod("fashion-b", None),
        ],
    )
    a = Arm("fashion-a", 80, (Endpoint("10.0.0.1"), Endpoint("10.0.0.2")))
    b = Arm("fashion-b", 20, (Endpoint("10.0.0.3", False),))
    assert planned == (Route("demo", "fashion", CREATED, ("fashion.example.com",), (a, b)),)


def test_a_pod_about_to_go_is_no_endpoint_whatever_it_says() -> None:
    going = pod("fashion-a", "10.0.0.1", deletionTimestamp="2026-11-24T10:00:00Z")
    (route,) = routes([deployment({"name": "fashion-a", "weight": 100})], [going])
    assert route.arms[0].endpoints == (Endpoint("10.0.0.1", False),)


def test_a_revision_may_be_tested_while_it_has_no_weight_and_a_ready_pod() -> None:
    pods = [
        pod("fashion-a", "10.0.0.1"),
        pod("fashion-b", "10.0.0.2"),
        pod("fashion-c", "10.0.0.3", ready=False),
    ]
    (route,) = routes(
        [deployment({"name": "fashion-a", "weight": 100}, {"name": "fashion-b"}, {"name": "fashion-c"})], pods
    )
    assert [arm.self_test for arm in route.arms] == [False, True, False]


def test_a_deployment_nobody_has_looked_at_yet_has_no_arms() -> None:
    (route,) = routes([{**deployment(), "status": {"observedGeneration": -1}}], [])
    assert route.arms == ()


def test_the_clusters_own_domain_is_answered_to() -> None:
    (route,) = routes([deployment()], [], "corp.internal")
    assert route.own_domains == ("fashion.demo", "fashion.demo.svc", "fashion.demo.svc.corp.internal")
