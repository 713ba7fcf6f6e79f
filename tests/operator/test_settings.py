import pytest

from slipway.settings import SettingsError, read

LEAST = {
    "SLIPWAY_NAMESPACE": "slipway-system",
    "SLIPWAY_POD_NAME": "operator-0",
    "SLIPWAY_OPERATOR_IMAGE": "o",
    "SLIPWAY_JOBS_IMAGE": "j",
    "SLIPWAY_TRITON_IMAGE": "t",
}


def test_addresses_follow_from_the_namespace() -> None:
    settings = read({**LEAST, "SLIPWAY_PROGRESS_PORT": "9443"})
    assert settings.platform.router_host == "slipway-router.slipway-system.svc.cluster.local"
    assert settings.platform.progress_url == "https://slipway-operator.slipway-system.svc.cluster.local:9443"
    assert settings.progress_port == 9443
    assert settings.watch_namespaces == ()


def test_namespaces_are_a_list() -> None:
    assert read({**LEAST, "SLIPWAY_WATCH_NAMESPACES": "a, b,"}).watch_namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SLIPWAY_JOBS_IMAGE", "", "SLIPWAY_JOBS_IMAGE is not set"),
        ("SLIPWAY_WORKERS", "many", "SLIPWAY_WORKERS is 'many': set a number of at least 1"),
        ("SLIPWAY_WORKERS", "0", "SLIPWAY_WORKERS is '0': set a number of at least 1"),
        ("SLIPWAY_HEALTH_PORT", "70000", "SLIPWAY_HEALTH_PORT is 70000: set a port from 1 to 65535"),
        ("SLIPWAY_LOG_LEVEL", "loud", "SLIPWAY_LOG_LEVEL is 'loud': set one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_allowed(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read({**LEAST, variable: value})
