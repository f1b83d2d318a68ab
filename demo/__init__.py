"""The page: `ui` puts it together, `tabs` says what stands where, `answers` has one plain function an event."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

# gradio writes a .pyi beside the source of each component, its own and ours, which type checkers then read in its
# place. At each start it renders them all anew, only to see that nothing has changed: a quarter of the start's time.
WRITES_STUBS = "gradio.component_meta"


class _WithoutStubs(PathFinder):
    """Finds gradio's module as Python does, which then writes nothing."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target) if fullname == WRITES_STUBS else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _leave_out(module)


def _leave_out(module: ModuleType) -> None:
    vars(module)["create_or_modify_pyi"] = lambda *given: None


if WRITES_STUBS in sys.modules:  # `spaces` imports gradio before the page does
    _leave_out(sys.modules[WRITES_STUBS])
else:
    sys.meta_path.insert(0, _WithoutStubs)
