"""The state machine of billing: what changes, what falls due, and what money that moves."""
