"""What runs in the pods that Slipway starts."""
