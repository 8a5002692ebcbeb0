"""The model of the live collection: is it here and whole, does it give its own vectors."""

from pathlib import Path

from worker.doctor.findings import Findings, doubtful, fine, wrong
from worker.errors import WorkerError
from worker.model.registered import Registered
from worker.settings.embedding import EmbedSettings
from worker.settings.environment import Settings

CHECK, DEVICE = "model", "device"
TEXT = "10.1038/nphys1170"
DEVICES = Path("/dev")


def look(settings: Settings, live: str | None) -> Findings:
    """What is to be said of models, and of what they run on."""
    yield from of_device(settings.embed, devices=DEVICES)
    if live is None:
        yield from of_first(settings)
        return
    registered = Registered(settings)
    manifest = registered.held(live)[1]
    try:
        registered.load(live).encoder.encode([TEXT])
    except WorkerError as error:
        yield wrong(
            CHECK,
            str(error),
            "set DOIVEC_EMBED__DEVICE=cpu and DOIVEC_EMBED__DTYPE=float32 and look again; where "
            "that helps, it is the device, its driver or torch; else bring the version anew",
        )
    else:
        reads = ", ".join(manifest.templates)
        words = f"{manifest.version[:16]}, of {manifest.name}, gives its own vectors, reads {reads}"
        yield fine(CHECK, words)
    if unheeded := registered.unheeded(live):
        yield doubtful(CHECK, unheeded, "take these settings away, or do what they ask for so")


def of_first(settings: Settings) -> Findings:
    """Whether the model that the settings name for a first collection can be there."""
    name = settings.model.name
    is_path = name.startswith(("/", "."))
    if is_path and not Path(name).is_dir():
        todo = "set DOIVEC_MODEL__NAME to a sentence-transformers directory, or to base"
        yield wrong(CHECK, f"DOIVEC_MODEL__NAME: there is no folder {name}", todo)
    else:
        yield fine(CHECK, f"the first collection will be of {name}")


def of_device(embed: EmbedSettings, *, devices: Path) -> Findings:
    """Whether a GPU that is there is used."""
    from worker.model.devices import pick_device  # noqa: PLC0415 - imports torch

    used, best = pick_device(embed.device), pick_device("auto")
    has_gpu = best.type == "cuda" or any(devices.glob("nvidia[0-9]*"))
    if not has_gpu or used.type == "cuda":
        yield fine(DEVICE, f"texts are embedded on {used}")
    elif best.type == "cuda":
        todo = "set DOIVEC_EMBED__DEVICE=auto, or leave it out"
        yield doubtful(DEVICE, f"there is a GPU, and DOIVEC_EMBED__DEVICE is {embed.device}", todo)
    else:
        todo = "install a torch with CUDA and a driver for it; in a container, let it see the GPU"
        yield doubtful(DEVICE, "there is a GPU, and torch can't use it", todo)
