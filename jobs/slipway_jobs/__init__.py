"""What runs in the pods that Slipway starts: `slipway-jobs <task>`, one JobConfig in, one Report out."""
