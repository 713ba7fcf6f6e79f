"""The kinds: each package has observe (reads the View), decide (pure) and objects (manifests)."""

from slipway.controller import AnyController

CONTROLLERS: tuple[AnyController, ...] = ()
