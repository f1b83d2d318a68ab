"""ProxyCLIP: open-vocabulary segmentation without training. See `load` and `ProxyCLIP`.

What it offers is in `public`, which is imported when one of its names is first asked for. That takes some seconds, most
of them torch's; so the command `proxyclip` runs before them and Ctrl-C ends them without a traceback.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

__version__ = "0.2.0"  # pyproject.toml reads it from here

if TYPE_CHECKING:
    from proxyclip_core.public import *  # noqa: F403
else:

    def __getattr__(name):
        if name.startswith("__") and name != "__all__":  # Python asks every module for these
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if find_spec(f"{__name__}.{name}"):
            return import_module(f"{__name__}.{name}")
        public = import_module(f"{__name__}.public")
        globals().update({each: getattr(public, each) for each in ("__all__", *public.__all__)})
        return getattr(public, name)

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
