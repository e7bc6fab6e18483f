"""What every test shares: nothing but their order."""


def pytest_collection_modifyitems(items):
    """The smoke run of all studies takes longest: it goes first, so that the other worker does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_study_all.py")
