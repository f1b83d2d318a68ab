"""gradio's page, where its own way costs everybody time or leaves a program without a reason."""

from __future__ import annotations

import os
from copy import copy
from typing import Any

import gradio as gr
from gradio.blocks import BlocksConfig, convert_component_dict_to_list
from gradio.exceptions import ComponentProcessingError, InvalidPathError

from demo.request_log import LoggedBlocks

# After each request gradio would sum up its last 10,000, for a page of its own that nobody opens: 12 ms.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
SKIPPED: dict[str, Any] = gr.skip()
NOT_UPLOADED = "Upload the file itself first: no address is fetched, and only files that were uploaded here are read."
MOST_IN_A_PATH = 1_000  # characters; the system raises for a longer one whatever is asked of it
UNREADABLE = "A value that was sent cannot be read. See Use via API for what each may be, or reload the page."


class _OfVisitor(BlocksConfig):
    """A visitor's components. gradio would describe all of them for every visitor, and one again each time it is
    updated, 2 ms each, for links to what a visitor's page shows; the page has links of its own."""

    @staticmethod
    def config_for_block(_id: int, rendered_ids: list[int], block: Any, renderable: Any = None) -> dict[str, Any]:
        return {}


class _OfPage(BlocksConfig):
    """The page's components, of which every visitor gets a copy."""

    def __copy__(self) -> _OfVisitor:
        copied = _OfVisitor(self.root_block)
        vars(copied).update(vars(super().__copy__()))
        return copied


class Blocks(LoggedBlocks):
    """As gradio's page otherwise: the answers are the same."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.default_config = _OfPage(self)

    async def preprocess_data(self, block_fn: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """As gradio's own, whose components raise whatever a value leads to; nobody would be told more than "error"."""
        if any(_is_address(value) for value in inputs):
            raise gr.Error(NOT_UPLOADED, print_exception=False)
        try:
            return await super().preprocess_data(block_fn, inputs, *given, **named)
        except InvalidPathError:
            raise gr.Error(NOT_UPLOADED, print_exception=False) from None
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError, ComponentProcessingError):
            raise gr.Error(UNREADABLE, print_exception=False) from None

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As gradio's own, but an output that an event leaves as it is costs nothing.

        gradio makes such a component and its description anew, some 4 ms each, in the one thread that listens to
        everybody; a tick of a slider leaves more than twenty.
        """
        outputs, values = block_fn.outputs, _listed(block_fn.outputs, predictions)
        changed = [place for place, value in enumerate(values) if not _is_skipped(value)]
        if len(changed) == len(outputs) or len(values) != len(outputs) or len(outputs) < 2:
            return await self._made(block_fn, predictions, state)
        answer: list[Any] = [None if block.stateful else dict(SKIPPED) for block in outputs]
        if changed:
            part = copy(block_fn)
            part.outputs = [outputs[place] for place in changed]
            given = [values[place] for place in changed]
            made = await self._made(part, given if len(given) > 1 else given[0], state)
            for place, value in zip(changed, made):
                answer[place] = value
        return answer

    async def _made(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As gradio's own `postprocess_data`, but all files that it writes are deleted when their time is up.

        gradio forgets those of a component that an update has made anew for one visitor.
        """
        made = await super().postprocess_data(block_fn, predictions, state)
        for block in block_fn.outputs:
            if state is not None and block._id in state:
                self.upload_file_set.update(getattr(state[block._id], "temp_files", ()))
        return made


def _is_address(value: Any) -> bool:
    """Whether a value stands for a file, and names it by what is no path: gradio would fetch it, or read what stands
    in it in ways of its own."""
    if not isinstance(value, dict) or "meta" not in value:
        return False
    path = value.get("path")
    if not isinstance(path, str) or len(path) > MOST_IN_A_PATH:
        return True
    return path.lower().startswith(("http:", "https:", "data:", "file:", "ftp:"))


def _listed(outputs: list[Any], predictions: Any) -> list[Any]:
    """What a function returned -> a value for each output."""
    if _is_skipped(predictions):
        return [SKIPPED] * len(outputs)
    if isinstance(predictions, dict) and predictions:
        predictions = convert_component_dict_to_list(outputs, predictions)
    return list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]


def _is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value == SKIPPED
