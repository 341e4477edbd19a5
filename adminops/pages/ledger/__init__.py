"""The ledger as people read it: an organization's history, one event, and their words."""
