"""Hosts: who gets which."""

from dataclasses import replace
from datetime import timedelta

from envoys import CREATED
from slipway.router.route import NOBODY, Route, permit, settle_hosts
from slipway.router.traffic import HostConflict


def route(name: str, *hosts: str, younger: int = 0, namespace: str = "demo") -> Route:
    return Route(namespace, name, CREATED + timedelta(seconds=younger), hosts)


def test_the_oldest_claim_on_a_host_wins_whatever_the_order() -> None:
    old, young = route("old", "shop.example.com"), route("young", "shop.example.com", younger=1)
    for routes in ([old, young], [young, old]):
        domains, conflicts = settle_hosts(routes)
        assert "shop.example.com" in domains["demo/old"]
        assert domains["demo/young"] == young.own_domains
        assert conflicts == {"demo/young": (HostConflict("shop.example.com", "demo/old"),)}


def test_no_extra_host_takes_the_address_of_another_deployment() -> None:
    thief = route("thief", "fashion.demo.svc")
    domains, conflicts = settle_hosts([thief, route("fashion", younger=1)])
    assert "fashion.demo.svc" in domains["demo/fashion"]
    assert conflicts == {"demo/thief": (HostConflict("fashion.demo.svc", "demo/fashion"),)}


def test_nobody_takes_all_hosts() -> None:
    assert settle_hosts([route("greedy", "*")])[1] == {"demo/greedy": (HostConflict("*", "router"),)}


def test_no_domain_is_given_twice() -> None:
    # `a.b` in namespace `svc` and the like: own names of different deployments never meet, extra hosts may.
    routes = [
        route("x", "x.demo", "X.demo.svc", "h.example.com", "H.example.com"),
        route("y", "h.example.com"),
    ]
    domains, _ = settle_hosts([routes[0], replace(routes[1], created=CREATED + timedelta(days=1))])
    given = [domain for names in domains.values() for domain in names]
    assert len(given) == len(set(given))


def test_a_host_that_the_namespace_may_not_have_is_left_out_and_named() -> None:
    wanted = route("fashion", "fashion.example.com", "other.org", "badexample.com")
    kept, refused = permit([wanted], {"demo": ("example.com",)})
    assert kept[0].hosts == ("fashion.example.com",)
    assert refused == {
        "demo/fashion": (HostConflict("other.org", NOBODY), HostConflict("badexample.com", NOBODY))
    }
