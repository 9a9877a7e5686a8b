"""Pictures and masks outside the networks."""
