"""gradio's page, where its own way costs everybody time or leaves a program without a reason."""

from __future__ import annotations

import os
import secrets
from copy import copy
from typing import Any, NoReturn
from urllib.parse import unquote

import gradio as gr
from gradio import processing_utils, route_utils
from gradio.blocks import BlocksConfig, convert_component_dict_to_list
from gradio.exceptions import ComponentProcessingError, InvalidPathError
from gradio.state_holder import SessionState

from demo.request_log import LoggedBlocks

# After each request gradio would sum up its last 10,000, for a page of its own that nobody opens: 12 ms.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
SKIPPED: dict[str, Any] = gr.skip()
NOT_UPLOADED = "Upload the file itself first: no address is fetched, and only files that were uploaded here are read."
MOST_IN_A_PATH = 1_000  # characters; the system raises for a longer one whatever is asked of it
MOST_INSIDE = 100_000  # values within one that is sent; the page's own hold far less
SHOWING, CHANGES = (gr.HTML, gr.Button), {"__type__", "value", "visible"}  # see `_only_shows`
META = {"_type": "gradio.FileData"}  # of each file that a page or a client sends
SCHEMES = ("http:", "https:", "data:", "file:", "ftp:")
HERE = "/gradio_api/file="  # in the address under which a file that lies here is told of
UNREADABLE = "A value that was sent cannot be read. See Use via API for what each may be, or reload the page."
NO_FILE = (
    "What was sent as a picture is no file that was uploaded. Send it by a POST to gradio_api/upload, and name it "
    'here as {"path": what that answered, "meta": {"_type": "gradio.FileData"}}; in gradio\'s Python client '
    'handle_file("picture.png") does all that.'
)


class _OfVisitor(BlocksConfig):
    """A visitor's components. gradio would describe all of them for every visitor, and one again each time it is
    updated, 2 ms each, for links to what a visitor's page shows; the page has links of its own.

    A component that is updated keeps its number. gradio makes it anew with another, under which its next use would keep
    it once more, as long as the visitor is remembered.
    """

    @staticmethod
    def config_for_block(_id: int, rendered_ids: list[int], block: Any, renderable: Any = None) -> dict[str, Any]:
        block._id = _id  # here, as gradio asks for this as soon as it has made one
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

    async def preprocess_data(self, block_fn: Any, inputs: Any, state: Any, *given: Any, **named: Any) -> Any:
        """As gradio's own, whose components raise whatever a value leads to; nobody would be told more than "error".

        gradio also hands each value to a thread of its own, 45 for a tick of a slider; none here takes long to read.
        """
        inputs, state = [_by_path(value) for value in inputs], state or SessionState(self)
        if any(map(_names_no_upload, inputs)):
            raise gr.Error(NOT_UPLOADED, print_exception=False)
        for block, value in zip(block_fn.inputs, inputs):
            if isinstance(block, gr.Dropdown) and isinstance(value, (list, dict)):
                raise gr.Error(UNREADABLE, print_exception=False)  # each menu of the page gives one value
            if isinstance(block, gr.Image) and value is not None and not _is_file(value):
                raise gr.Error(NO_FILE, print_exception=False)
        unread = copy(block_fn)
        unread.preprocess = False
        try:
            values = await super().preprocess_data(unread, inputs, state, *given, **named)
            if not block_fn.preprocess:
                return values
            return [_read(state, block, value) for block, value in zip(block_fn.inputs, values)]
        except InvalidPathError:
            raise gr.Error(NOT_UPLOADED, print_exception=False) from None
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError, ComponentProcessingError):
            raise gr.Error(UNREADABLE, print_exception=False) from None

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As gradio's own, but an output that an event leaves as it is costs nothing.

        gradio makes such a component and its description anew, some 4 ms each, in the one thread that listens to
        everybody; a tick of a slider leaves more than twenty. So it does with one that only shows another text.
        """
        outputs, values = block_fn.outputs, _listed(block_fn.outputs, predictions)
        if len(values) != len(outputs) or len(outputs) < 2:
            return await super().postprocess_data(block_fn, predictions, state)
        answer: list[Any] = [None if block.stateful else dict(SKIPPED) for block in outputs]
        changed = []
        for place, (block, value) in enumerate(zip(outputs, values)):
            if _only_shows(block, value):
                answer[place] = _shown(block, value)
            elif not _is_skipped(value):
                changed.append(place)
        if changed:
            part = copy(block_fn)
            part.outputs = [outputs[place] for place in changed]
            given = [values[place] for place in changed]
            made = await super().postprocess_data(part, given if len(given) > 1 else given[0], state)
            for place, value in zip(changed, made):
                answer[place] = value
        return answer


def _fetch_nothing(*given: Any, **named: Any) -> NoReturn:
    raise gr.Error(NOT_UPLOADED, print_exception=False)


# In the place of what gradio fetches addresses with, should any value get that far.
processing_utils.ssrf_protected_download = processing_utils.async_ssrf_protected_download = _fetch_nothing


class OwnUpload(route_utils.GradioUploadFile):
    """An upload in a folder of its own. gradio names it by what the file holds: whoever has the same bytes could ask
    for one file name after the other, and learn how somebody else calls theirs."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.sha.update(secrets.token_bytes(16))


route_utils.GradioUploadFile = OwnUpload  # type: ignore[misc]


def _is_file(value: Any) -> bool:
    """Whether gradio takes a value for a file."""
    return isinstance(value, dict) and "path" in value and "meta" in value


def _by_path(value: Any) -> Any:
    """A file that is named by the address of an upload, as a program's is, by the path of that."""
    path = value["path"] if _is_file(value) else None
    if not isinstance(path, str) or HERE not in path or not path.startswith(SCHEMES[:2]):
        return value
    return value | {"path": unquote(path.partition(HERE)[2]), "url": None}


def _names_no_upload(value: Any) -> bool:
    """Whether a value stands for a file and names it by what is no file's path: gradio would fetch it, or read what
    stands in it in ways of its own. It looks for such in lists and in whatever else a value holds, of any component;
    nothing of the page takes one there."""
    if _is_file(value):
        path, more = value["path"], (one for name, one in value.items() if name != "meta")
        if not isinstance(path, str) or value["meta"] != META or any(isinstance(one, (dict, list)) for one in more):
            return True
        return len(path) > MOST_IN_A_PATH or path.lower().startswith(SCHEMES) or os.path.isdir(path)
    inner, most = [value], MOST_INSIDE
    while inner and most:
        one, most = inner.pop(), most - 1
        if _is_file(one):
            return True
        inner += one if isinstance(one, list) else one.values() if isinstance(one, dict) else ()
    return bool(inner)


def _listed(outputs: list[Any], predictions: Any) -> list[Any]:
    """What a function returned -> a value for each output."""
    if _is_skipped(predictions):
        return [SKIPPED] * len(outputs)
    if isinstance(predictions, dict) and predictions:
        predictions = convert_component_dict_to_list(outputs, predictions)
    return list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]


def _read(state: Any, block: Any, value: Any) -> Any:
    """What a function gets for the value of a component."""
    if block.stateful:
        return value
    if block.data_model is not None and value is not None:
        value = block.data_model.model_validate(value, context={"validate_meta": True})
    return state[block._id].preprocess(value)


def _only_shows(block: Any, value: Any) -> bool:
    """Whether an output shows a text, or comes and goes, and that is all: what events read of such a component comes
    from the browser."""
    given = value if gr.utils.is_prop_update(value) else {"value": value}
    return type(block) in SHOWING and given.keys() <= CHANGES and isinstance(given.get("value", ""), str)


def _shown(block: Any, value: Any) -> Any:
    """What the browser is told of such an output."""
    if isinstance(value, str):
        return block.postprocess(value)
    return value | {"value": block.postprocess(value["value"])} if "value" in value else dict(value)


def _is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value == SKIPPED
