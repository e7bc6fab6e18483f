"""The exception tree. A message says what happened, the value, and what to do; the command line prints no traceback."""

from importlib.util import find_spec


class GoldpannerError(Exception):
    """Base of every error goldpanner raises on purpose; the command line prints its message and exits with 2."""


class InputError(GoldpannerError, ValueError):
    """A value, a file or an option cannot be used as given."""


class StoreError(GoldpannerError):
    """The sample store cannot be read or written."""


class MissingExtraError(GoldpannerError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the '{extra}' extra, which is not installed. Run: pip install 'goldpanner[{extra}]'"
        )


def need_extra(feature: str, extra: str, *modules: str) -> None:
    """Raise MissingExtraError unless all the modules that a feature needs are installed; nothing is imported."""
    if not all(map(find_spec, modules)):
        raise MissingExtraError(feature, extra)


def need_lab() -> None:
    """Raise MissingExtraError when torch or transformers is not installed."""
    need_extra("the lab (training and sampling local models)", "lab", "torch", "transformers")


class Interrupted(GoldpannerError):
    """Work was interrupted (Ctrl-C) and can be resumed; the message says how."""
