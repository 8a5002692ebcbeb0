"""This machine: its data directory and disk, its processor, the packages installed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from worker.doctor.findings import Findings, doubtful, fine, wrong
from worker.settings.environment import Settings

MIB = 2**20
LEAST_BYTES, FEW_BYTES = 256 * MIB, 2048 * MIB  # Qdrant Edge wants 64 MiB for a write
NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "gluster", "lustre", "afs", "fuse.sshfs")
MOUNTS, PROCESSOR = Path("/proc/self/mounts"), Path("/proc/cpuinfo")


def look(settings: Settings) -> Findings:
    """What is to be said of the machine."""
    yield from of_folders(settings)
    yield from of_disk(settings.data_dir)
    if settings.redis.url is None or settings.qdrant.url is None:
        yield from of_network(settings.data_dir, mounts=MOUNTS)
    yield from of_processor(PROCESSOR)
    yield from of_packages("doivec")


def of_folders(settings: Settings) -> Findings:
    """Whether what the settings name can be written."""
    named = {
        "DOIVEC_DATA_DIR": settings.data_dir,
        "DOIVEC_TRACE": settings.trace and settings.trace.parent,
        "DOIVEC_METADATA__INDEX": settings.metadata.index and settings.metadata.index.parent,
    }
    for variable, path in named.items():
        if path is None:
            continue
        there = nearest(path)
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            yield fine("settings", f"{variable}: {path.absolute()}")
        else:
            yield wrong(
                "settings",
                f"{variable}: {there} is no folder that this user may write to",
                f"set {variable} to another one, or give it to user {os.getuid()}",
            )


def of_disk(path: Path) -> Findings:
    """Whether there is room."""
    room = shutil.disk_usage(nearest(path))
    words = f"{room.free // MIB:,} of {room.total // MIB:,} MiB are free in {path.absolute()}"
    todo = "make room there, or set DOIVEC_DATA_DIR to a larger disk"
    if room.free < LEAST_BYTES:
        yield wrong("disk", f"the disk is full: {words}", todo)
    elif room.free < FEW_BYTES:
        yield doubtful("disk", words, todo)
    else:
        yield fine("disk", words)


def of_network(path: Path, *, mounts: Path) -> Findings:
    """Whether the data directory is on a disk of another machine, by a table of mounts."""
    place = nearest(path).resolve()
    kinds = dict[Path, str]()
    for line in mounts.read_text("utf-8", "replace").splitlines() if mounts.exists() else ():
        _, point, kind, *_ = line.split(" ")
        kinds[Path(point.replace("\\040", " "))] = kind
    found = [point for point in kinds if place.is_relative_to(point)]
    kind = kinds[max(found, key=lambda point: len(point.parts))] if found else ""
    if kind.startswith(NETWORK):
        yield doubtful(
            "disk",
            f"{place} is on a network disk ({kind}): locks and memory maps of the private Redis "
            "and of Qdrant Edge may fail there",
            "set DOIVEC_DATA_DIR to a disk of this machine, or DOIVEC_REDIS__URL and "
            "DOIVEC_QDRANT__URL to servers",
        )


def of_processor(path: Path) -> Findings:
    """Whether the processor has what makes embedding fast, by what the kernel tells of it."""
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    if flags is not None and "avx2" not in flags:
        yield doubtful(
            "processor",
            "this processor has no AVX2: embedding takes several times as long",
            "run workers on another machine, or with a GPU",
        )


def of_packages(distribution: str) -> Findings:
    """Whether the packages installed are those that a distribution asks for."""
    try:
        wanted = requires(distribution) or []
    except PackageNotFoundError:
        yield doubtful("packages", f"{distribution} is not installed", "install it with pip")
        return
    found = list(misfits(wanted))
    for words in found:
        todo = "install it anew, with `--constraint constraints.txt`: versions tried together"
        yield doubtful("packages", words, todo)
    if not found:
        yield fine("packages", f"{distribution} {version(distribution)} and all that it needs")


def misfits(requirements: Iterable[str]) -> Iterator[str]:
    """What is not installed, or in another version, of requirements as pip writes them."""
    return filter(None, (_misfit(Requirement(line)) for line in requirements))


def _misfit(requirement: Requirement) -> str:
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return ""
    try:
        there = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(there, prereleases=True):
        return ""
    return f"{requirement.name} {there} is installed, {requirement.specifier} is needed"


def nearest(path: Path) -> Path:
    """The path, or of what is not there yet the folder in which it will be made."""
    path = path.absolute()
    return next(parent for parent in (path, *path.parents) if parent.exists())
