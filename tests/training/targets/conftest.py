"""The drawn people of the tests of targets, which need torch."""

import pytest


@pytest.fixture(scope="module")
def people(made_up):
    from training.dataset import labels
    from training.targets.subject import subjects

    return list(subjects(labels.read(made_up), made_up / "mesh.npz"))


@pytest.fixture(scope="module")
def young(people):
    return people[0]


@pytest.fixture(scope="module")
def old(people):
    return people[7]
