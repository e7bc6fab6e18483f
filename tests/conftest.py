"""What every test shares: their order, and that Ctrl-C is heard."""

import signal

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # so a shell starts what it runs in the background, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The smoke run of all studies takes longest: it goes first, so that the other worker does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_study_all.py")
