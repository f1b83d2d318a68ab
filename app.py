"""Starts the page: `python app.py`. Every option has a default; `python app.py --help` lists them."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demo.models import Models

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a start without a network is then a clean one

PASSWORD = "PROXYCLIP_PASSWORD"  # a variable, as other people of the machine may read the command line
MOST_FILES = (65_536, 10_240, 4_096)  # the first that the system gives

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401  lends a GPU on Hugging Face ZeroGPU; it must come before torch


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Segment pictures by words, in the browser.")
    parser.add_argument("--host", help="address to listen on (default: this machine only; 0.0.0.0 for all)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    own = "a file of weights, 'NAME=FILE'"
    parser.add_argument(
        "--clip", help=f"CLIP to open with, such as 'OpenAI B/16', {own} or 'open_clip:MODEL/TAG' (PROXYCLIP_CLIP)"
    )
    parser.add_argument(
        "--vfm", help=f"vision model, such as 'DINO B/8' or 'DINO B', {own} or 'timm:MODEL.TAG' (PROXYCLIP_VFM)"
    )
    parser.add_argument("--patch", type=int, help="patch size of the vision model's family")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--share", action="store_true", help="also give the page a public address for a while")
    parser.add_argument(
        "--auth", metavar="USER", help=f"let in only who signs in as USER, with the password {PASSWORD}"
    )
    parser.add_argument("--root-path", metavar="PATH", help="where a proxy in front shows the page, such as /proxyclip")
    parser.add_argument(
        "--mcp", action="store_true", help="also be an MCP server, at /gradio_api/mcp/ (needs the extra [mcp])"
    )
    return parser.parse_args()


def start_log() -> None:
    """The page's own lines, and not every library's, on standard error: errors, and a line for each request."""
    lines = logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("demo").addHandler(lines)
    logging.getLogger("demo").propagate = False  # a library that logs for all would write each line once more
    logging.getLogger("demo.request_log").setLevel(logging.INFO)


def is_public(arguments: argparse.Namespace) -> bool:
    """Whether anybody but this machine can reach the page."""
    host = arguments.host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    shared = arguments.share or os.environ.get("GRADIO_SHARE", "").lower() == "true"
    in_front = arguments.root_path is not None  # a proxy, which shows the page to others
    return shared or in_front or "SPACE_ID" in os.environ or host not in ("127.0.0.1", "localhost", "::1")


def own_folder() -> Path:
    """Uploads and results go where nobody else of this machine looks or has files already, and go when the page ends:
    also when it is ended from outside, which takes no time then. What is downloaded or written meanwhile is whole, or
    goes on at the next start. Returns where gradio's files are; GRADIO_TEMP_DIR says in which folder."""
    within = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
    os.makedirs(within, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="proxyclip-", dir=within)
    # Two folders: gradio takes over a file by copying it, unless it lies among its own already.
    files, tempfile.tempdir = os.path.join(folder, "files"), os.path.join(folder, "work")
    os.environ["GRADIO_TEMP_DIR"] = files
    os.mkdir(tempfile.tempdir)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def end(signal_number: int, frame: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + signal_number)  # a result may be on its way for a minute

    signal.signal(signal.SIGTERM, end)
    return Path(files)


def take_many_connections() -> None:
    """Each page that is open holds some, which are files to the system, and it gives a process 1,024 unless asked."""
    with contextlib.suppress(ImportError):  # on Windows there is no such limit
        resource: Any = importlib.import_module("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for most in MOST_FILES:
            with contextlib.suppress(ValueError, OSError):  # too many for this system, whose kernel has a limit beside
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
                return


def reach_itself(host: str | None) -> None:
    """Before it opens, the page asks itself whether it is there: not by way of a proxy that the environment names."""
    own = ",".join(filter(None, ("localhost", "127.0.0.1", "::1", host)))
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = f"{os.environ[name]},{own}" if os.environ.get(name) else own
    leave_out_unusable_proxies(own)


def leave_out_unusable_proxies(own: str) -> None:
    """One that httpx cannot read would keep everything from starting that opens a connection, gradio first of all."""
    import httpx

    def usable(**given: Any) -> bool:
        try:
            httpx.Client(**given, verify=False).close()  # asks nothing; reading the certificates takes time
        except (ValueError, httpx.InvalidURL, ImportError) as error:
            print(f"app.py: {name} cannot be used and is left out: {error}", file=sys.stderr)
            return False
        return True

    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        address = os.environ[name]
        if address and not usable(proxy=address if "://" in address else f"http://{address}"):
            del os.environ[name]
    name = "NO_PROXY"  # the only one that is left
    if not usable():
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = own


def read_root_path(path: str) -> str:
    """A path as gradio takes it, or a whole address."""
    return path if path.startswith(("http://", "https://")) else f"/{path.strip('/')}"


def read_sign_in(user: str | None) -> tuple[str, str] | None:
    """Who may come in, and the password, which is no longer in the environment then. Raises ValueError."""
    password = os.environ.pop(PASSWORD, "")
    if user is None:
        return None
    if not user.strip() or not password:
        raise ValueError(f"--auth takes a name, and the password from the environment: {PASSWORD}=... --auth ann.")
    return user.strip(), password


def main() -> None:
    arguments = read_arguments()
    gc.disable()  # until `look_for_garbage`: a sixth of the time that the page takes to start
    start_log()
    # Before `demo.limits` is imported, which reads it.
    os.environ.setdefault("PROXYCLIP_PUBLIC", "on" if is_public(arguments) else "off")
    files = own_folder()
    take_many_connections()
    reach_itself(arguments.host)
    # Here, so that --help and a mistyped option answer at once.
    import proxyclip_core as pc
    from demo.examples import FOLDER
    from demo.models import Models
    from demo.tidy import Tidy
    from demo.ui import LAUNCH, build_demo
    from proxyclip_core.cpu import keep_freed_memory

    try:
        clip, vfm = pc.complete_pair(arguments.clip, arguments.vfm, arguments.patch)
        models = Models(arguments.device)
        sign_in = read_sign_in(arguments.auth)
        if arguments.mcp and sign_in:
            raise ValueError("--mcp cannot be used with --auth: gradio asks nobody to sign in who calls a tool.")
        if arguments.mcp and importlib.util.find_spec("mcp") is None:
            raise ValueError("--mcp needs a package more: pip install '.[mcp]'.")
    except (ValueError, pc.WeightsError) as error:
        sys.exit(f"app.py: {error}")
    if models.device.type == "cpu":
        keep_freed_memory()
    elif models.device.type == "cuda":
        few_threads()
    if arguments.mcp:
        from demo.agents import serve_agents

        serve_agents()
    demo = build_demo(models, clip, vfm, examples=FOLDER)
    address: dict[str, Any] = {
        "server_name": arguments.host,
        "server_port": arguments.port,
        "share": arguments.share,
        "auth": sign_in,
        "root_path": arguments.root_path and read_root_path(arguments.root_path),
        "mcp_server": arguments.mcp,
    }
    demo.launch(**address, **LAUNCH, prevent_thread_lock=True)
    threading.Thread(target=Tidy(demo, files).run, daemon=True).start()
    # The first result then comes sooner; the page is already open meanwhile.
    threading.Thread(target=warm_up, args=(models, clip, vfm, demo.warm_up), daemon=True).start()
    demo.block_thread()


def few_threads() -> None:
    """What is left for the CPU beside a GPU is small, and 16 threads wait for each other: masks take a tenth less time
    with 4."""
    import torch

    torch.set_num_threads(min(4, torch.get_num_threads()))


def warm_up(models: Models, clip: str, vfm: str, make_first: Callable[[], Any] = lambda: None) -> None:
    """Imports what the encoders need, some seconds, loads the models that the page opens with, if they are here, and
    makes the result that it opens with, for all who come.

    Where visitors may have none downloaded, these are: whoever starts the page has named them.
    """
    import proxyclip_core as pc
    from demo import limits
    from proxyclip_core.models import weights

    try:
        for name in ("open_clip", "timm", "huggingface_hub"):
            importlib.import_module(name)
    finally:
        look_for_garbage()
    with contextlib.suppress(ValueError, OSError, RuntimeError):  # said to the person when they are asked for
        if not limits.DOWNLOADS:
            weights.find_weights(pc.find_clip(clip)), weights.find_weights(pc.find_vfm(vfm))
        if models.ready(clip, vfm):
            models.get(clip, vfm)
            if not limits.gpus_are_lent():  # there a GPU is lent to visitors alone
                make_first()
    importlib.import_module("matplotlib.figure")  # Look inside draws with it


def look_for_garbage() -> None:
    """From now on, but not among what has been imported, which stays: to look through that takes 0.25 s, in which
    nobody is answered. Models come later, so these can go again when they have to make room."""
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    main()
