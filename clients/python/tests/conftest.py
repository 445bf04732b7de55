"""Tests against a live master with a worker, which ORCHESTRA_URL names."""

from __future__ import annotations

import pytest

from orchestra import Client


@pytest.fixture(scope="session")
def client() -> Client:
    return Client(patience=30.0)
