"""Words to values, and values to what the networks are conditioned on."""
