"""Endpoints, a module for each resource."""
